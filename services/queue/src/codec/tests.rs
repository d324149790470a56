//! What is packed comes back as it was, and damaged bytes are refused.

use proptest::prelude::*;

use super::*;
use crate::trail::{Progress, Trail};

fn status(state: State) -> Status {
    Status {
        state,
        attempts: 2,
        blocked_by: 0,
        created: 1_700_000_000_000_000,
        updated: 1_700_000_000_000_300,
        ready_at: 1_700_000_001_000_000,
        worker: Arc::from(""),
        expires: 0,
        deadline: 0,
        last_error: None,
        trail: None,
    }
}

fn spec() -> Spec {
    Spec {
        namespace: "default".into(),
        queue: "q".into(),
        kind: "k".into(),
        metadata: vec![("run".into(), "7".into())],
        request_id: "r".into(),
        body_hash: 9,
        priority: 3,
        retry: Retry::default(),
        attempt_timeout: Some(Duration::from_secs(5)),
        traceparent: "t".into(),
        terms: None,
        group: "tenant-1".into(),
    }
}

fn terms() -> Option<Box<Terms>> {
    Some(Box::new(Terms { unique_key: "u".into(), ..Terms::default() }))
}

#[test]
fn a_spec_comes_back_as_it_was() {
    let plain = Spec { group: "".into(), ..spec() };
    let bound = Spec { terms: terms(), ..plain.clone() };
    for spec in [plain, bound, spec(), Spec { terms: terms(), ..spec() }] {
        assert_eq!(unpack_spec(&pack_spec(&spec)), Ok(spec));
    }
}

#[test]
fn a_spec_of_the_first_version_is_still_read() {
    let plain = Spec { group: "".into(), ..spec() };
    let mut packed = pack_spec(&plain);
    // It had no count before its labels, which end the record: `run` and `7` after their lengths.
    let count = packed.len() - 7;
    assert_eq!(packed.remove(count), 1);
    packed[0] = SPEC_WITHOUT_EXTRAS;
    assert_eq!(unpack_spec(&packed), Ok(plain));
}

#[test]
fn a_held_change_comes_back_as_it_was() {
    let mut status = status(State::Leased);
    status.worker = "w-1".into();
    status.expires = 1_700_000_030_000_000;
    status.last_error = Some(Arc::new(Failure::expired()));
    let progress = Some(Progress::new(0.5, "half"));
    status.trail = Some(Arc::new(Trail { progress, ..Trail::default() }));
    let duration = Duration::from_secs(30);
    let (token, deadline) = (u64::MAX, Some(7));
    let settled = Some((9, Ending::Released));
    for mark in [Mark::of("w-1"), Mark::default()] {
        let hold = Hold { token, mark, duration, deadline, stream: 0, holder: 0, due: 0, proven_until: None };
        let mut out = Packer::default();
        pack_change(&mut out, 5, true, &status, Some(&hold), settled);
        let read = unpack_change(&mut Unpacker(&out.0)).unwrap();
        let status = status.clone();
        assert_eq!(read, Stored { row: 5, event: true, status, hold: Some(hold), settled });
    }
}

#[test]
fn a_blocked_change_comes_back_as_it_was() {
    let status = Status { blocked_by: 3, deadline: 1_700_000_002_000_000, ..status(State::Waiting) };
    let mut out = Packer::default();
    pack_change(&mut out, 5, false, &status, None, None);
    let read = unpack_change(&mut Unpacker(&out.0)).unwrap();
    assert_eq!(read, Stored { row: 5, event: false, status, hold: None, settled: None });
}

#[test]
fn a_first_attempt_that_completes_costs_no_byte_for_its_history() {
    let pack = |status: &Status| {
        let mut out = Packer::default();
        pack_change(&mut out, 1 << 20, true, status, None, Some((u64::MAX, Ending::Failed)));
        out.0
    };
    let mut status = status(State::Completed);
    let plain = pack(&status);
    // State and flags, row, attempts, three times, token, ending.
    assert_eq!(plain.len(), 1 + 3 + 1 + (8 + 2 + 8) + 10 + 1);
    assert_eq!(plain[0] & MORE, 0);
    status.trail = Some(Arc::default());
    assert_eq!(pack(&status).len(), plain.len() + 4);
}

proptest! {
    #[test]
    fn numbers_come_back(value: u64) {
        let mut out = Packer::default();
        out.number(value);
        prop_assert_eq!(Unpacker(&out.0).number(), Ok(value));
    }

    #[test]
    fn damaged_bytes_are_refused_without_panic(bytes: Vec<u8>) {
        drop(unpack_spec(&bytes));
        drop(unpack_change(&mut Unpacker(&bytes)));
    }
}
