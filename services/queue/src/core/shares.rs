//! Shares and limits of groups, through the core on a held clock: what starts, when, and that calls are woken.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use proptest::prelude::*;

use super::{
    Core,
    model::{Disk, limits, task},
};
use crate::{
    mark::Mark,
    record::{Lease, LeaseRequest, NewTask, Outcome, QueueSettings, RateLimit, Settlement},
    task::Micros,
};

const START: Micros = 1_700_000_000_000_000;
const SECOND: Micros = 1_000_000;

struct Desk {
    core: Core,
    disk: Disk,
    now: Micros,
}

impl Desk {
    fn new(change: impl FnOnce(&mut QueueSettings)) -> Self {
        let mut desk = Self { core: Core::new(limits(), 1), disk: Disk::default(), now: START };
        desk.configure(change);
        desk
    }

    fn configure(&mut self, change: impl FnOnce(&mut QueueSettings)) {
        self.core.configure(&"default".into(), &"q".into(), change, self.now).unwrap();
    }

    fn put(&mut self, group: &str, count: usize) {
        self.core.enqueue(vec![task(None, false, group); count], self.now).unwrap();
    }

    fn put_with(&mut self, priority: u8) {
        let mut new: NewTask = task(None, false, "");
        new.spec.priority = priority;
        self.core.enqueue(vec![new], self.now).unwrap();
    }

    fn take(&mut self, max: usize) -> Vec<Lease> {
        let request = LeaseRequest {
            namespace: "default".into(),
            queues: vec!["q".into()],
            worker: "w".into(),
            max,
            duration: Duration::from_secs(3_600),
            wait: Duration::ZERO,
            stream: 0,
            mark: Mark::default(),
        };
        self.core.lease(&request, self.now)
    }

    fn complete(&mut self, lease: &Lease) {
        let outcome = Outcome::Completed(Arc::from(&b""[..]));
        self.core.settle("default", &Settlement { lease: lease.refer(), outcome }, self.now);
    }

    /// Starts tasks, one after another, and answers how many each group got.
    fn serve(&mut self, count: usize) -> BTreeMap<String, usize> {
        let mut served = BTreeMap::new();
        for _ in 0..count {
            for lease in self.take(1) {
                *served.entry(lease.task.spec.group.to_string()).or_default() += 1;
                self.complete(&lease);
            }
        }
        served
    }

    /// Lets time pass to where the core wants it, up to `until`; true when the queue opened.
    fn pass(&mut self, until: Micros) -> bool {
        self.core.take_touched();
        let next = self.core.next_tick().filter(|at| *at <= until);
        self.now = next.unwrap_or(until).max(self.now);
        self.core.tick(self.now);
        !self.core.take_touched().is_empty()
    }

    fn commit(&mut self) {
        let batch = self.core.take_batch(self.now);
        self.disk.write(&batch);
    }

    fn restart(&mut self) {
        self.commit();
        self.core = self.disk.read(self.now);
    }

    fn groups(&mut self) -> usize {
        let index = self.core.intern(&"default".into(), &"q".into()).unwrap();
        self.core.queues.at(index).named_groups()
    }
}

fn per_second(count: u32, burst: u32) -> Option<RateLimit> {
    Some(RateLimit { count, period: Duration::from_secs(1), burst })
}

#[test]
fn groups_share_by_weight_as_long_as_all_want() {
    let mut desk = Desk::new(|settings| settings.group_weights = [("a".into(), 3)].into());
    desk.put("a", 400);
    desk.put("b", 400);
    assert_eq!(desk.serve(400), [("a".into(), 300), ("b".into(), 100)].into());
    assert_eq!(
        desk.serve(400),
        [("a".into(), 100), ("b".into(), 300)].into(),
        "what one leaves, the other gets"
    );
}

#[test]
fn another_weight_holds_at_once() {
    let mut desk = Desk::new(|_| {});
    desk.put("a", 300);
    desk.put("b", 300);
    assert_eq!(desk.serve(100)["a"], 50);
    desk.configure(|settings| settings.group_weights = [("b".into(), 4)].into());
    assert!((78..=82).contains(&desk.serve(100)["b"]));
}

#[test]
fn a_group_at_its_limit_leaves_room_for_others_and_comes_back() {
    let mut desk = Desk::new(|settings| settings.group_max_running = Some(2));
    desk.put("a", 500);
    desk.put("b", 1);
    let held = desk.take(100);
    let of = |group: &str| held.iter().filter(|lease| *lease.task.spec.group == *group).count();
    assert_eq!((of("a"), of("b")), (2, 1));
    desk.core.take_touched();
    desk.complete(held.iter().find(|lease| *lease.task.spec.group == *"a").unwrap());
    assert_eq!(desk.core.take_touched(), [0], "who waits is told");
    assert_eq!(desk.take(100).len(), 1);
}

#[test]
fn a_lower_limit_starts_nothing_until_enough_has_ended() {
    let mut desk = Desk::new(|_| {});
    desk.put("a", 10);
    let held = desk.take(5);
    desk.configure(|settings| settings.group_max_running = Some(3));
    for (ended, lease) in held.iter().enumerate() {
        assert_eq!(desk.take(100).len(), usize::from(ended == 3), "after {ended} ended");
        desk.complete(lease);
        if ended == 3 {
            break;
        }
    }
    desk.configure(|settings| settings.group_max_running = None);
    assert_eq!(desk.take(100).len(), 5 - 1, "without a limit all start");
}

#[test]
fn new_limits_hold_at_once_however_many_groups_there_are() {
    let mut desk = Desk::new(|settings| settings.group_max_running = Some(1));
    for group in 0..900 {
        desk.put(&format!("g{group}"), 1);
    }
    desk.configure(|settings| settings.group_rate = per_second(1, 1));
    assert_eq!(desk.take(900).len(), 900);
    assert_eq!(desk.groups(), 900);
}

#[test]
fn a_queue_at_its_limit_is_shut_as_a_whole() {
    let mut desk = Desk::new(|settings| settings.max_running = Some(3));
    desk.put("a", 10);
    desk.put("", 10);
    let held = desk.take(100);
    assert_eq!(held.len(), 3);
    assert!(desk.core.is_empty(0));
    desk.complete(&held[0]);
    assert!(!desk.core.is_empty(0));
    assert_eq!(desk.take(100).len(), 1);
}

#[test]
fn a_rate_outlives_a_restart() {
    let mut desk = Desk::new(|settings| {
        settings.group_rate = Some(RateLimit { count: 1, period: Duration::from_secs(60), burst: 2 });
    });
    desk.put("a", 10);
    for lease in desk.take(100) {
        desk.complete(&lease);
    }
    desk.restart();
    assert!(desk.take(100).is_empty(), "its bucket is as empty as before");
    assert!(desk.pass(START + 60 * SECOND));
    assert_eq!(desk.take(100).len(), 1);
}

#[test]
fn running_tasks_are_counted_again_after_a_restart() {
    let mut desk = Desk::new(|settings| settings.group_max_running = Some(2));
    desk.put("a", 10);
    desk.put("b", 10);
    let held = desk.take(100);
    desk.restart();
    assert!(desk.take(100).is_empty());
    desk.complete(&held[0]);
    assert_eq!(desk.take(100).len(), 1);
}

#[test]
fn a_group_leaves_memory_and_ledger_once_its_bucket_is_full() {
    let mut desk = Desk::new(|settings| settings.group_rate = per_second(1, 3));
    for group in ["a", "b", "c"] {
        desk.put(group, 3);
    }
    for lease in desk.take(100) {
        desk.complete(&lease);
    }
    desk.commit();
    assert_eq!((desk.groups(), desk.disk.facts("rate")), (3, 3));
    desk.restart();
    desk.pass(START + 2 * SECOND);
    assert_eq!(desk.groups(), 3);
    while desk.now < START + 4 * SECOND {
        desk.pass(START + 4 * SECOND);
    }
    desk.commit();
    assert_eq!((desk.groups(), desk.disk.facts("rate"), desk.core.next_tick()), (0, 0, None));
}

#[test]
fn a_rate_that_is_lifted_leaves_nothing_behind() {
    let mut desk = Desk::new(|settings| {
        (settings.rate, settings.group_rate) = (per_second(1, 1), per_second(1, 1));
    });
    desk.put("a", 5);
    assert_eq!(desk.take(100).len(), 1);
    desk.configure(|settings| (settings.rate, settings.group_rate) = (None, None));
    assert_eq!(desk.take(100).len(), 4);
    desk.commit();
    assert_eq!(desk.disk.facts("rate"), 0);
}

#[test]
fn cancelled_tasks_leave_no_places_behind() {
    let mut desk = Desk::new(|_| {});
    desk.put("a", 1);
    let first = desk.core.queue("default", "q").unwrap().stats.oldest_ready;
    desk.now += SECOND;
    desk.put("b", 1);
    let ids: Vec<_> = desk.take(1).iter().map(|lease| lease.task.id).collect();
    desk.core.cancel("default", &ids, "", desk.now);
    assert_eq!(
        (first, desk.core.queue("default", "q").unwrap().stats.oldest_ready),
        (Some(START), Some(desk.now))
    );
    assert_eq!(desk.groups(), 1);
}

#[test]
fn in_strict_order_the_lowest_waits_for_all_others() {
    let mut desk = Desk::new(|settings| settings.strict_priority = true);
    desk.put_with(0);
    desk.now += 3_600 * SECOND;
    desk.put_with(9);
    desk.put_with(5);
    let order: Vec<u8> = desk.take(3).iter().map(|lease| lease.task.spec.priority).collect();
    assert_eq!(order, [9, 5, 0]);
}

#[test]
fn in_ageing_order_the_wait_of_the_lowest_is_bounded() {
    let mut desk = Desk::new(|_| {});
    desk.put_with(0);
    let step = i64::try_from(limits().ageing_step.as_micros()).unwrap();
    let mut served = Vec::new();
    // One comes and one leaves, every half a second: the highest would starve the lowest.
    while !served.contains(&0) {
        desk.put_with(9);
        served.extend(desk.take(1).iter().map(|lease| lease.task.spec.priority));
        desk.now += SECOND / 2;
    }
    assert!(desk.now - START <= 9 * step + SECOND, "{}", desk.now - START);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn shares_converge_to_weights_while_groups_come_and_go(
        weights in proptest::collection::vec(1u32..20, 2..6), guests in 0usize..3,
    ) {
        let names: Vec<String> = (0..weights.len()).map(|at| format!("g{at}")).collect();
        let named: BTreeMap<Box<str>, u32> =
            names.iter().zip(&weights).map(|(name, weight)| (name.as_str().into(), *weight)).collect();
        let mut desk = Desk::new(|settings| settings.group_weights = named);
        let mut served: BTreeMap<String, usize> = BTreeMap::new();
        let rounds = 600;
        for round in 0..rounds {
            for name in &names {
                desk.put(name, 1);
            }
            if round % 10 == 0 {
                desk.put(&format!("guest-{round}"), guests);
            }
            for (name, count) in desk.serve(1) {
                *served.entry(name).or_default() += count;
            }
            if desk.core.live_len() > 900 {
                break;
            }
        }
        let steady: usize = names.iter().filter_map(|name| served.get(name)).sum();
        let total: u32 = weights.iter().sum();
        for (name, weight) in names.iter().zip(&weights) {
            let due = steady * *weight as usize / total as usize;
            let got = served.get(name).copied().unwrap_or(0);
            prop_assert!(got.abs_diff(due) <= weights.len() + 1, "{name} got {got} and not {due}: {served:?}");
        }
    }

    #[test]
    fn nothing_starts_faster_than_its_rates_and_whoever_waits_is_woken(
        count in 1u32..20, burst in 0u32..30, group_count in 1u32..10, group_burst in 0u32..10,
        restarts in any::<bool>(),
    ) {
        let (rate, group_rate) = (per_second(count, burst), per_second(group_count, group_burst));
        let (whole, each) = (rate.clone().unwrap(), group_rate.clone().unwrap());
        let mut desk = Desk::new(|settings| (settings.rate, settings.group_rate) = (rate, group_rate));
        ["a", "b", ""].iter().for_each(|group| desk.put(group, 200));
        let mut started: Vec<(Micros, String)> = Vec::new();
        while desk.now < START + 8 * SECOND {
            started.extend(desk.take(1_000).iter().map(|lease| (desk.now, lease.task.spec.group.to_string())));
            prop_assert!(desk.core.is_empty(0), "what may start has started");
            if restarts && started.len() % 7 == 3 {
                desk.restart();
            }
            let before = desk.now;
            let opened = desk.pass(START + 8 * SECOND);
            prop_assert!(opened || desk.now > before, "an alarm leads somewhere");
        }
        let within = |group: Option<&str>, limit: &RateLimit| {
            let times: Vec<Micros> =
                started.iter().filter(|(_, name)| group.is_none_or(|group| group == name)).map(|(at, _)| *at).collect();
            (0..times.len()).all(|from| {
                let rest = &times[from..];
                (0..rest.len()).all(|to| {
                    let refilled = (rest[to] - rest[0]) * i64::from(limit.count) / SECOND;
                    i64::try_from(to).unwrap() < refilled + i64::from(limit.burst())
                })
            })
        };
        prop_assert!(within(None, &whole));
        for group in ["a", "b", ""] {
            prop_assert!(within(Some(group), &each));
        }
        // As many as the rates let through, but for the last token.
        let due = i64::from(whole.burst()) + 8 * i64::from(whole.count);
        let due = due.min(3 * (i64::from(each.burst()) + 8 * i64::from(each.count)));
        let got = i64::try_from(started.len()).unwrap();
        prop_assert!(got >= due.min(600) - 4 || got >= 3 * 8, "{got} of {due}");
    }
}
