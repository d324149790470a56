//! One run is one trace.

use std::time::Duration;

use bytes::Bytes;
use nova_client::{Endpoint, Endpoints};
use nova_e2e::callers::Callers;
use nova_e2e::raw;
use nova_testkit::{Collector, Nova, eventually};
use tonic::Code;

use crate::run::orchestrated;

const PARTS: [&str; 7] = ["nova", "lifecycle", "queue", "identity", "node", "policy", "runner"];

pub(crate) fn one_run_is_one_connected_trace_through_every_part(store: &str) {
    let (collector, nova) = (Collector::start(), Nova::new());
    let run = orchestrated(&nova, &["--store", store, "--otlp", &collector.endpoint]);
    let tree = eventually("the trace is complete", Duration::from_secs(60), || {
        let tree = collector.tree(&run.trace);
        let attempts = tree.operation("process").len();
        let settled = attempts > 0 && attempts == tree.operation("settle").len();
        (settled && tree.orphans().is_empty()).then_some(tree)
    });
    assert_eq!(tree.roots().len(), 1, "{:?}", tree.roots());
    tree.assert_messages();
    let count = |operation| tree.operation(operation).len();
    assert!(count("send") > 0 && count("receive") >= count("process"), "{:?}", tree.services());
    for part in PARTS {
        assert!(tree.services().contains_key(part), "no span of {part}: {:?}", tree.services());
    }
    for daemon in ["lifecycle", "queue", "identity", "node", "policy"] {
        assert!(tree.count(daemon, "policy.decide") > 0, "no decision in {daemon}");
    }
    assert!(tree.count("policy", "nova.policy.v1.PolicyService/Explain") > 0, "the denial was explained");
}

#[test]
fn a_trace_that_is_read_at_once_is_whole() {
    let nova = Nova::new();
    nova.run(&["up"]).ok();
    let run = orchestrated(&nova, &[]);
    let spans = || nova.run(&["--json", "trace", &run.trace]).json().as_array().map_or(0, Vec::len);
    let at_once = nova.run(&["trace", &run.trace]).ok();
    assert!(!at_once.contains("is lost)"), "{at_once}");
    let (told, later) = (at_once.split(' ').next().and_then(|count| count.parse().ok()), spans());
    assert_eq!(told, Some(later), "{at_once}");
}

#[test]
fn a_trace_names_the_steps_and_counts_what_it_shows() {
    let nova = Nova::new();
    let run = orchestrated(&nova, &[]);
    let whole = nova.run(&["trace", &run.trace]).ok();
    assert!(whole.contains("process agents.can.rehearsal  flaky (shell), attempt 2"), "{whole}");
    assert!(whole.contains("receive agents.can.host-audit  cpu (host.cpu), by "), "{whole}");
    let errors = nova.run(&["trace", &run.trace, "--errors"]).ok();
    for (shown, of_all) in [(&whole, false), (&errors, true)] {
        let (headline, rows) = shown.split_once('\n').expect("a headline");
        assert!(headline.starts_with(&rows.lines().count().to_string()), "{headline}");
        assert_eq!(
            headline.split(" spans").next().is_some_and(|count| count.contains(" of ")),
            of_all,
            "{headline}"
        );
    }
    nova.run(&["workflow", "ls"]).ok();
    let listed = nova.run(&["trace"]).ok();
    assert!(listed.contains("nova orchestrate") && !listed.contains("QueueService/Work"), "{listed}");
    assert!(!listed.contains("/ListRuns") && nova.run(&["trace", "--all"]).ok().contains("/ListRuns"));
    assert_eq!(nova.run(&["trace", "00000000"]).code, 5);
}

#[test]
fn the_mesh_keeps_the_same_trace_for_itself() {
    let (collector, nova) = (Collector::start(), Nova::new());
    let run = orchestrated(&nova, &["--otlp", &collector.endpoint, "--skip", "rehearsal"]);
    let kept = nova.run(&["--json", "trace", &run.trace]).json();
    let kept = kept.as_array().expect("a list of spans").len();
    assert_eq!(kept, collector.tree(&run.trace).spans.len());
}

#[test]
fn spans_that_are_dropped_are_counted_and_shown() {
    let nova = Nova::new();
    let mut up = nova.command(&["up", "--otlp", "http://127.0.0.1:1"]);
    let up = up.env("NOVA_RUNTIME__TELEMETRY__SPAN_BUFFER", "1").output().expect("nova starts");
    assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
    eventually("spans are dropped at both ends", Duration::from_secs(60), || {
        nova.run(&["queue", "ls"]).ok();
        let status = nova.run(&["--json", "status"]).json();
        let [recorded, lost] = ["recorded", "lost"].map(|which| status["spans"][which].as_u64());
        let dropped = lost > Some(0) && recorded > lost;
        (dropped && status["batches_not_forwarded"].as_u64() > Some(0)).then_some(())
    });
    let told = nova.run(&["status"]).ok();
    assert!(told.contains(" lost; ") && told.contains("did not reach the collector of --otlp"), "{told}");
}

/// An export of no spans is one, too.
const EXPORT: &str = "opentelemetry.proto.collector.trace.v1.TraceService/Export";

#[test]
fn nobody_but_the_mesh_puts_spans_among_its_own() {
    let callers = Callers::of_a_new_mesh();
    let file = callers.nova().mesh_file().expect("a mesh runs");
    let token = file["collector_token"].as_str().expect("its processes know a token").to_owned();
    let collector = Endpoint(file["collector"].as_str().expect("a URL").to_owned());
    let export = |token: Option<String>| {
        let endpoints = Endpoints { queue: collector.clone(), ..callers.endpoints() };
        let channel = callers.bearer_at(token, endpoints).channel("queue").expect("it has a place");
        callers.block_on(raw::call(channel, EXPORT, vec![Bytes::new()])).map_err(|status| status.code())
    };
    assert_eq!(export(None).unwrap_err(), Code::Unauthenticated);
    assert_eq!(export(Some("another".to_owned())).unwrap_err(), Code::Unauthenticated);
    export(Some(token.clone())).expect("who knows the token may");
    let status = callers.nova().run(&["--json", "status"]).ok();
    assert!(!status.contains(&token), "{status}");
}
