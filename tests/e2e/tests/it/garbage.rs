//! Garbage harms nobody: whatever arrives as a message, the daemon answers with a proper error and lives on.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::try_join_all;
use nova_client::Mesh;
use nova_e2e::callers::Callers;
use nova_e2e::contracts::{self, Rpc};
use nova_e2e::raw;
use nova_e2e::tape::{Messages, Tape};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tonic::Code;

/// How long garbage is thrown at least: until each RPC was hit.
const SHORT: Duration = Duration::from_secs(45);
const LONG: Duration = Duration::from_secs(600);

/// Most calls at the same time: some of them wait.
const AT_ONCE: usize = 32;

/// A body for one RPC.
#[derive(Clone, Debug)]
struct Garbage {
    /// Index of the RPC.
    rpc: prop::sample::Index,
    body: Body,
}

#[derive(Clone, Debug)]
enum Body {
    /// Bytes.
    Noise(Vec<u8>),
    /// A message of the right form.
    Message(Vec<u8>),
    /// Such a message with some bytes turned, and cut off.
    Mutated { tape: Vec<u8>, turned: Vec<(prop::sample::Index, u8)>, kept: prop::sample::Index },
}

impl Body {
    fn encoded(&self, rpc: &Rpc, messages: &Messages) -> Vec<u8> {
        match self {
            Self::Noise(noise) => noise.clone(),
            Self::Message(tape) => Tape::new(tape).message(&rpc.request, messages),
            Self::Mutated { tape, turned, kept } => {
                let mut body = Tape::new(tape).message(&rpc.request, messages);
                if body.is_empty() {
                    return body;
                }
                for (place, bits) in turned {
                    let place = place.index(body.len());
                    body[place] ^= bits;
                }
                body.truncate(kept.index(body.len()) + 1);
                body
            }
        }
    }
}

fn garbage() -> impl Strategy<Value = Garbage> {
    let tape = || vec(any::<u8>(), 0..400);
    let turned = vec((any::<prop::sample::Index>(), any::<u8>()), 1..8);
    let mutated = (tape(), turned, any::<prop::sample::Index>());
    let body = prop_oneof![
        1 => vec(any::<u8>(), 0..300).prop_map(Body::Noise),
        4 => tape().prop_map(Body::Message),
        3 => mutated.prop_map(|(tape, turned, kept)| Body::Mutated { tape, turned, kept }),
    ];
    (any::<prop::sample::Index>(), body).prop_map(|(rpc, body)| Garbage { rpc, body })
}

#[test]
fn no_message_kills_a_daemon_or_is_answered_with_internal() {
    let callers = Callers::of_a_new_mesh();
    let (mesh, pids) = (callers.everybody(), callers.pids());
    let (rpcs, messages) = (contracts::rpcs(), contracts::messages());
    let (thrown, hit) = (Cell::new(0_usize), RefCell::new(BTreeSet::new()));
    let until = Instant::now() + duration();
    let goes_on = |now| now < until || (hit.borrow().len() < rpcs.len() && now < until + LONG);
    while goes_on(Instant::now()) {
        // A runner is good for one round: it counts its cases over all its runs.
        let mut runner = TestRunner::new(config());
        let outcome = runner.run(&vec(garbage(), 1..=AT_ONCE), |garbage| {
            let calls = garbage.iter().map(|garbage| {
                let rpc = garbage.rpc.get(&rpcs);
                hit.borrow_mut().insert(rpc.name.as_str());
                assert_survived(&mesh, rpc, garbage.body.encoded(rpc, &messages))
            });
            thrown.set(thrown.get() + garbage.len());
            callers.block_on(try_join_all(calls)).map(drop)
        });
        outcome.unwrap_or_else(|failure| panic!("{failure}"));
        callers.assert_unharmed(&pids);
    }
    let missed: Vec<_> = rpcs.iter().filter(|rpc| !hit.borrow().contains(rpc.name.as_str())).collect();
    assert!(missed.is_empty(), "at these nothing was thrown: {missed:#?}");
    eprintln!("{} messages were thrown at {} RPCs", thrown.get(), rpcs.len());
}

/// Cases between two looks at the processes.
fn config() -> Config {
    Config { cases: 20, failure_persistence: None, max_shrink_time: 20_000, ..Config::default() }
}

fn duration() -> Duration {
    if std::env::var_os("NOVA_TEST_FULL").is_some() { LONG } else { SHORT }
}

async fn assert_survived(mesh: &Mesh, rpc: &Rpc, body: Vec<u8>) -> Result<(), TestCaseError> {
    let channel = mesh.channel(rpc.daemon).expect("a daemon of the mesh");
    let body = Bytes::from(body);
    let Err(status) = raw::call(channel, &rpc.name, vec![body.clone()]).await else { return Ok(()) };
    let bad = matches!(status.code(), Code::Internal | Code::Unknown | Code::Unavailable | Code::DataLoss);
    prop_assert!(!bad, "{} answers {status:?} to {} bytes: {body:?}", rpc.name, body.len());
    Ok(())
}
