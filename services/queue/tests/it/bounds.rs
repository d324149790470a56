//! What a daemon holds is bounded, and says so.

use std::collections::HashMap;

use nova_proto::queue::v1 as pb;
use nova_queue::Config;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::harness::{Home, ask, client, complete, enqueue, fail, put, refused, take, task};

/// A task with 4 KiB of labels.
fn labelled() -> pb::NewTask {
    let labels = (0..16).map(|number| (format!("label-{number}"), "v".repeat(256)));
    pb::NewTask { metadata: labels.collect(), ..task("t") }
}

pub(crate) async fn a_backlog_is_bounded_in_bytes(home: &Home) {
    let server = home.serve_with(Config { max_bytes: 64 << 10, ..Config::default() }).await;
    let mut client = client(&server);
    let plain = pb::NewTask { metadata: HashMap::new(), ..task("t") };
    client.enqueue(enqueue(vec![plain.clone(); 50])).await.unwrap();
    let mut stored = 0;
    let refusal = loop {
        match client.enqueue(enqueue(vec![labelled()])).await {
            Ok(_) => stored += 1,
            Err(status) => break status,
        }
    };
    assert!(stored < 16, "{stored} tasks of 4 KiB in 64 KiB");
    assert!(refusal.message().contains("max_bytes"), "{refusal}");
    assert!(refusal.get_error_details().retry_info().is_some(), "{refusal}");
    refused::<()>(Err(refusal), Code::ResourceExhausted, "OVERLOADED");
    let lease = take(&mut client, ask()).await;
    let error = Some(pb::TaskError { reason: "BROKEN".into(), message: "m".repeat(4_096) });
    client.fail(pb::FailRequest { error, ..fail(&lease) }).await.unwrap();
    for _ in 0..50 + stored {
        let lease = take(&mut client, ask()).await;
        client.complete(complete(&lease, "r")).await.unwrap();
    }
    put(&mut client, labelled()).await;
}
