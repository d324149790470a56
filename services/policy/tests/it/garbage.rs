//! Whatever a caller sends, the answer says what is wrong with it, and the daemon lives.

use nova_proto::policy::v1 as pb;
use proptest::prelude::{Strategy, any, prop};
use proptest::test_runner::{Config, TestRunner};
use tonic::{Code, Status};

use crate::harness::{Client, ENQUEUE, Policy};

/// What fields are filled with.
#[derive(Clone, Debug)]
struct Garbage {
    texts: Vec<String>,
    number: u32,
    seconds: i64,
}

fn garbage() -> impl Strategy<Value = Garbage> {
    let rego =
        "(package nova.authz\n)?(decision|default|allow|if|:=|\\{|\\}|\\[|\"| |\n|input|not|some|1){0,20}";
    let text = "\\PC{0,70}|[a-z0-9./-]{0,8}|spiffe://[a-z]{0,3}/[a-z]{0,3}|[0-9a-f]{32}|\0{0,3}";
    let texts = (prop::collection::vec(text, 6), rego).prop_map(|(mut texts, rego)| {
        texts.push(rego);
        texts
    });
    let fields = (texts, any::<u32>(), any::<i64>());
    fields.prop_map(|(texts, number, seconds)| Garbage { texts, number, seconds })
}

impl Garbage {
    fn text(&self, index: usize) -> String {
        self.texts[index].clone()
    }

    fn question(&self) -> Option<pb::Question> {
        let question = pb::Question {
            subject: self.text(0),
            roles: self.texts.clone(),
            method: self.text(1),
            service: self.text(2),
            credential: self.number.cast_signed() % 4,
        };
        (!self.number.is_multiple_of(5)).then_some(question)
    }

    fn decision(&self) -> pb::Decision {
        let nanos = self.number.cast_signed();
        pb::Decision {
            id: self.text(4),
            question: self.question(),
            verdict: nanos % 4,
            why: self.text(0),
            revision: self.text(1),
            time: Some(prost_types::Timestamp { seconds: self.seconds, nanos }),
            elapsed: Some(prost_types::Duration { seconds: self.seconds, nanos }),
            trace_id: self.text(5),
        }
    }
}

fn outcome<T>(answer: Result<T, Status>) -> Code {
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
}

async fn call_all(calls: &mut Client, garbage: &Garbage) -> Vec<Code> {
    let module = Some(pb::PolicyModule { id: format!("g{}", garbage.text(2)), rego: garbage.text(6) });
    let list = pb::ListDecisionsRequest {
        verdict: garbage.number.cast_signed() % 4,
        trace_id: garbage.text(0),
        page_size: garbage.number % 2_000,
        page_token: garbage.text(1),
    };
    let report = pb::ReportDecisionsRequest { decisions: vec![garbage.decision()], dropped: 0 };
    vec![
        outcome(calls.check(pb::CheckRequest { question: garbage.question() }).await),
        outcome(calls.explain(pb::ExplainRequest { decision_id: garbage.text(0) }).await),
        outcome(calls.list_decisions(list).await),
        outcome(calls.report_decisions(report).await),
        outcome(calls.watch_snapshots(pb::WatchSnapshotsRequest { revision: garbage.text(5) }).await),
        outcome(calls.put_policy(pb::PutPolicyRequest { module }).await),
        outcome(calls.get_policy(pb::GetPolicyRequest { module_id: garbage.text(1) }).await),
        outcome(calls.delete_policy(pb::DeletePolicyRequest { module_id: garbage.text(1) }).await),
    ]
}

#[test]
fn garbage_is_refused_by_name_and_harms_nobody() {
    let fine = [Code::Ok, Code::InvalidArgument, Code::NotFound, Code::FailedPrecondition];
    let tokio = tokio::runtime::Runtime::new().unwrap();
    let mut policy = tokio.block_on(Policy::start());
    let mut runner = TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
    let client = policy.client.clone();
    let result = runner.run(&garbage(), |garbage| {
        let codes = tokio.block_on(call_all(&mut client.clone(), &garbage));
        proptest::prop_assert!(codes.iter().all(|code| fine.contains(code)), "{:?}", codes);
        Ok(())
    });
    result.unwrap();
    assert!(tokio.block_on(policy.allows("worker", ENQUEUE)));
}
