//! Whatever a caller sends, the answer says what is wrong with it, and the daemon lives.

use nova_proto::identity::v1 as identity;
use nova_proto::memory::v1 as memory;
use proptest::prelude::{Strategy, any, prop};
use proptest::test_runner::{Config, TestRunner};
use tonic::{Code, Status};

use crate::daemon::{Daemon, Place};

/// What fields are filled with.
#[derive(Clone, Debug)]
struct Garbage {
    texts: Vec<String>,
    bytes: Vec<u8>,
    number: u32,
    float: f64,
    seconds: i64,
}

fn garbage() -> impl Strategy<Value = Garbage> {
    let text = "\\PC{0,70}|[a-z0-9-]{0,8}|(agent|svc|user|worker)/[a-z]{0,3}|[{}\":,0-9]{0,20}|\0{0,3}";
    let texts = prop::collection::vec(text, 6);
    let fields = (texts, any::<Vec<u8>>(), any::<u32>(), any::<f64>(), any::<i64>());
    fields.prop_map(|(texts, bytes, number, float, seconds)| Garbage { texts, bytes, number, float, seconds })
}

impl Garbage {
    fn text(&self, index: usize) -> String {
        self.texts[index].clone()
    }

    fn ttl(&self) -> Option<prost_types::Duration> {
        let nanos = self.number.cast_signed();
        self.number.is_multiple_of(2).then_some(prost_types::Duration { seconds: self.seconds, nanos })
    }
}

fn outcome<T>(answer: Result<T, Status>) -> Code {
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
}

async fn call_identity(daemon: &Daemon, garbage: &Garbage) -> Vec<Code> {
    let mut calls = daemon.identity("user/ada", &["operator", "joining"]);
    let csr = garbage.bytes.clone();
    let (namespace, agent_id, subject) = (garbage.text(0), garbage.text(1), garbage.text(2));
    let name = identity::RegisterAgentRequest { namespace: namespace.clone(), agent_id: agent_id.clone() };
    let get = identity::GetAgentIdentityRequest { namespace: namespace.clone(), agent_id };
    let (page_size, page_token) = (garbage.number, garbage.text(3));
    let list = identity::ListAgentIdentitiesRequest { namespace, page_size, page_token };
    let join = identity::CreateJoinTokenRequest { subject: subject.clone(), ttl: garbage.ttl() };
    let mint = identity::MintTokenRequest { subject, roles: garbage.texts.clone(), ttl: garbage.ttl() };
    vec![
        outcome(calls.attest_workload(identity::AttestWorkloadRequest { csr: csr.clone() }).await),
        outcome(calls.renew_x509(identity::RenewX509Request { csr }).await),
        outcome(calls.create_join_token(join).await),
        outcome(calls.mint_token(mint).await),
        outcome(calls.get_bundle(identity::GetBundleRequest {}).await),
        outcome(calls.register_agent(name).await),
        outcome(calls.get_agent_identity(get).await),
        outcome(calls.list_agent_identities(list).await),
    ]
}

async fn call_memory(daemon: &Daemon, garbage: &Garbage) -> Vec<Code> {
    let mut calls = daemon.memory("worker/orion");
    let labels: std::collections::HashMap<_, _> = [(garbage.text(4), garbage.text(5))].into();
    let put = memory::PutMemoryRequest {
        namespace: garbage.text(0),
        request_id: garbage.text(1),
        kind: (garbage.number % 12).cast_signed(),
        text: garbage.text(2),
        data_json: garbage.text(3),
        labels: labels.clone(),
        importance: garbage.float,
    };
    let get = memory::GetMemoryRequest { namespace: garbage.text(0), memory_id: garbage.text(1) };
    let search = memory::SearchMemoriesRequest {
        namespace: garbage.text(0),
        query: garbage.text(2),
        labels,
        page_size: garbage.number % 1_200,
        page_token: garbage.text(3),
    };
    vec![
        outcome(calls.put_memory(put).await),
        outcome(calls.get_memory(get).await),
        outcome(calls.search_memories(search).await),
    ]
}

#[test]
fn garbage_is_refused_with_a_reason_by_every_rpc() {
    let tokio = tokio::runtime::Runtime::new().unwrap();
    let place = Place::sqlite();
    let daemon = tokio.block_on(place.start());
    let mut runner = TestRunner::new(Config { cases: 150, failure_persistence: None, ..Config::default() });
    let checked = runner.run(&garbage(), |garbage| {
        let codes = tokio.block_on(async {
            [call_identity(&daemon, &garbage).await, call_memory(&daemon, &garbage).await].concat()
        });
        let fine = [Code::Ok, Code::InvalidArgument, Code::NotFound, Code::Unauthenticated, Code::Aborted];
        proptest::prop_assert!(codes.iter().all(|code| fine.contains(code)), "{:?}", codes);
        Ok(())
    });
    checked.unwrap();
}
