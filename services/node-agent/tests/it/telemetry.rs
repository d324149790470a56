//! What the host has and how it does.

use nova_node_agent::Config;
use nova_proto::node::v1::{GetNodeRequest, GetTelemetryRequest, StreamTelemetryRequest, Telemetry};

use crate::fixture::{Node, config};

fn assert_plausible(telemetry: &Telemetry) {
    assert!((0.0..=1.0).contains(&telemetry.cpu_utilization), "{}", telemetry.cpu_utilization);
    assert_eq!(telemetry.load_average.len(), 3);
    assert!(telemetry.memory_used_bytes > 0 && telemetry.memory_available_bytes > 0);
    assert!(
        telemetry.filesystems.iter().all(|filesystem| filesystem.available_bytes <= filesystem.total_bytes)
    );
    assert!(telemetry.pressure.values().all(|share| (0.0..=1.0).contains(share)));
}

#[tokio::test]
async fn a_node_tells_what_it_has() {
    let node = Node::with(Config { node_id: "orion".to_owned(), ..config() }).await;
    let response = node.client.clone().get_node(GetNodeRequest {}).await.unwrap();
    let node = response.into_inner().node.unwrap();
    assert_eq!(node.id, "orion");
    assert!(node.cpus > 0 && node.memory_bytes > 0 && node.boot_time.unwrap().seconds > 0);
    assert_eq!(node.capabilities["limits"], "rlimit");
    assert_eq!(node.gpus.is_empty(), node.capabilities["gpu"].starts_with("absent ("));
}

#[tokio::test]
async fn a_sample_is_plausible() {
    let node = Node::start().await;
    let response = node.client.clone().get_telemetry(GetTelemetryRequest {}).await.unwrap();
    assert_plausible(&response.into_inner().telemetry.unwrap());
}

#[tokio::test]
async fn a_stream_sends_sample_after_sample() {
    let node = Node::start().await;
    let interval = Some(prost_types::Duration { seconds: 0, nanos: 100_000_000 });
    let response = node.client.clone().stream_telemetry(StreamTelemetryRequest { interval }).await.unwrap();
    let mut stream = response.into_inner();
    // On a busy host ticks come late, and two of them may be told one reading.
    let (mut before, mut later) = (0, 0);
    while later < 3 {
        let telemetry = stream.message().await.unwrap().unwrap().telemetry.unwrap();
        assert_plausible(&telemetry);
        let time = telemetry.time.unwrap();
        let millis = time.seconds * 1_000 + i64::from(time.nanos) / 1_000_000;
        assert!(millis >= before, "{millis} after {before}");
        later += i32::from(millis > before);
        before = millis;
    }
}
