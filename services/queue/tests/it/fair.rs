//! Settings of queues, groups, limits and rates.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use nova_proto::queue::v1 as pb;
use nova_queue::Config;
use nova_types::{Clock, HeldClock, SystemClock};
use pb::{work_request::Message as Say, work_response::Message as Hear};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::harness::{Client, Home, PATIENCE, ask, client, complete, enqueue, millis, seconds, task};

fn update(settings: pb::QueueSettings, paths: &[&str]) -> pb::UpdateQueueRequest {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    pb::UpdateQueueRequest {
        queue: "q".into(),
        settings: Some(settings),
        update_mask: Some(prost_types::FieldMask { paths }),
        ..Default::default()
    }
}

async fn set(client: &mut Client, settings: pb::QueueSettings, paths: &[&str]) -> pb::QueueSettings {
    let answer = client.update_queue(update(settings, paths)).await.unwrap();
    answer.into_inner().queue.unwrap().settings.unwrap()
}

async fn shown(client: &mut Client) -> pb::QueueSettings {
    let request = pb::GetQueueRequest { queue: "q".into(), ..Default::default() };
    client.get_queue(request).await.unwrap().into_inner().queue.unwrap().settings.unwrap()
}

async fn put(client: &mut Client, group: &str, count: usize) {
    let tasks = vec![pb::NewTask { group: group.into(), ..task("t") }; count];
    client.enqueue(enqueue(tasks)).await.unwrap();
}

/// As many tasks as may start now.
async fn take(client: &mut Client) -> Vec<pb::Lease> {
    let request = pb::LeaseRequest { wait: None, max_tasks: 10, ..ask() };
    client.lease(request).await.unwrap().into_inner().leases
}

fn by_group(leases: &[pb::Lease]) -> BTreeMap<&str, usize> {
    let mut counted = BTreeMap::new();
    for lease in leases {
        *counted.entry(lease.task.as_ref().unwrap().group.as_str()).or_default() += 1;
    }
    counted
}

fn all() -> pb::QueueSettings {
    pb::QueueSettings {
        max_running: 7,
        rate: Some(pb::RateLimit { count: 5, period: seconds(60), burst: 0 }),
        group_max_running: 3,
        group_rate: Some(pb::RateLimit { count: 1, period: millis(1), burst: 9 }),
        group_weights: [("a".to_owned(), 1_000), (String::new(), 2)].into(),
        strict_priority: true,
        max_tasks: 100,
        keep_for: seconds(3_600),
        keep_bytes: 1 << 20,
    }
}

pub(crate) async fn settings_change_by_mask_and_are_shown(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    assert_eq!(set(&mut client, all(), &[]).await, all());
    let few = pb::QueueSettings { max_running: 1, max_tasks: 5, ..Default::default() };
    let changed = set(&mut client, few, &["max_running", "rate"]).await;
    assert_eq!(changed, pb::QueueSettings { max_running: 1, rate: None, ..all() });
    let some = pb::QueueSettings { max_tasks: 5, ..Default::default() };
    set(&mut client, some, &[]).await;
    let wanted = pb::QueueSettings { max_running: 1, rate: None, max_tasks: 5, ..all() };
    assert_eq!(shown(&mut client).await, wanted, "without a mask, what is set");
    server.stop().await;
    let server = home.serve().await;
    assert_eq!(shown(&mut crate::harness::client(&server)).await, wanted);
}

pub(crate) async fn groups_share_and_keep_to_their_limits(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    let settings = pb::QueueSettings { group_max_running: 2, max_running: 5, ..Default::default() };
    set(&mut client, settings, &[]).await;
    for group in ["a", "b", "c"] {
        put(&mut client, group, 4).await;
    }
    let held = take(&mut client).await;
    assert_eq!(by_group(&held), [("a", 2), ("b", 2), ("c", 1)].into());
    assert!(take(&mut client).await.is_empty());
    client.complete(complete(&held[0], "r")).await.unwrap();
    assert_eq!(take(&mut client).await.len(), 1);
    let group = pb::TaskFilter { group: Some("b".into()), ..Default::default() };
    let list = pb::ListTasksRequest { filter: Some(group), ..Default::default() };
    let found = client.list_tasks(list).await.unwrap().into_inner().tasks;
    assert_eq!(found.iter().filter(|task| task.group == "b").count(), 4);
    assert_eq!(found.len(), 4);
    put(&mut client, "", 1).await;
    let none = pb::TaskFilter { group: Some(String::new()), ..Default::default() };
    let list = pb::ListTasksRequest { filter: Some(none), ..Default::default() };
    assert_eq!(client.list_tasks(list).await.unwrap().into_inner().tasks.len(), 1, "those of no group");
}

pub(crate) async fn a_stream_is_woken_when_a_bucket_refills(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    let rate = Some(pb::RateLimit { count: 1, period: millis(50), burst: 1 });
    set(&mut client, pb::QueueSettings { group_rate: rate, ..Default::default() }, &[]).await;
    put(&mut client, "a", 4).await;
    let (say, said) = tokio::sync::mpsc::channel(4);
    let open =
        pb::WorkOpen { queues: vec!["q".into()], worker: "w".into(), credit: 10, ..Default::default() };
    say.send(pb::WorkRequest { message: Some(Say::Open(open)) }).await.unwrap();
    let mut heard = client.work(ReceiverStream::new(said)).await.unwrap().into_inner();
    let start = std::time::Instant::now();
    let mut leased = 0;
    while leased < 4 {
        let next = tokio::time::timeout(PATIENCE, heard.message()).await.expect("the bucket refills");
        if let Some(Hear::Leases(leases)) = next.unwrap().unwrap().message {
            leased += leases.leases.len();
        }
    }
    assert!(start.elapsed() >= Duration::from_millis(145), "{:?}", start.elapsed());
}

async fn put_at(client: &mut Client, priority: u32) {
    client.enqueue(enqueue(vec![pb::NewTask { priority, ..task("t") }])).await.unwrap();
}

/// The priorities of all that may start, in the order in which it does.
async fn order(client: &mut Client) -> Vec<u32> {
    take(client).await.into_iter().map(|lease| lease.task.unwrap().priority).collect()
}

pub(crate) async fn what_has_a_higher_priority_starts_first(home: &Home) {
    let server = home.serve_with(Config { ageing_step_ms: 3_600_000, ..Config::default() }).await;
    let mut client = client(&server);
    for priority in [0, 9, 4, 9] {
        put_at(&mut client, priority).await;
    }
    assert_eq!(order(&mut client).await, [9, 9, 4, 0]);
}

pub(crate) async fn a_low_priority_is_not_starved_unless_the_queue_is_strict(home: &Home) {
    let clock = Arc::new(HeldClock::at(SystemClock.now()));
    let server = home.serve_at(Arc::clone(&clock) as Arc<dyn Clock>).await;
    let mut client = client(&server);
    for (strict_priority, wanted) in [(false, [0, 9]), (true, [9, 0])] {
        let settings = pb::QueueSettings { strict_priority, ..Default::default() };
        set(&mut client, settings, &["strict_priority"]).await;
        put_at(&mut client, 0).await;
        clock.advance(Duration::from_secs(60));
        put_at(&mut client, 9).await;
        assert_eq!(order(&mut client).await, wanted, "strict: {strict_priority}");
    }
}

pub(crate) async fn groups_are_served_by_their_weights(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    let group_weights = [("a".to_owned(), 1), ("b".to_owned(), 4)].into();
    set(&mut client, pb::QueueSettings { group_weights, ..Default::default() }, &["group_weights"]).await;
    for group in ["a", "b"] {
        put(&mut client, group, 20).await;
    }
    assert_eq!(by_group(&take(&mut client).await), [("a", 2), ("b", 8)].into());
    assert_eq!(by_group(&take(&mut client).await), [("a", 2), ("b", 8)].into());
}

pub(crate) async fn bad_settings_name_their_fields(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    let rate = |count, period, burst| Some(pb::RateLimit { count, period, burst });
    let weights = |group: &str, weight| [(group.to_owned(), weight)].into();
    let good = pb::QueueSettings::default;
    let table = [
        ("settings.rate.count", pb::QueueSettings { rate: rate(0, seconds(1), 1), ..good() }),
        ("settings.rate.count", pb::QueueSettings { rate: rate(1_000_001, seconds(1), 1), ..good() }),
        ("settings.rate.period", pb::QueueSettings { rate: rate(1, None, 1), ..good() }),
        ("settings.rate.period", pb::QueueSettings { rate: rate(1, seconds(86_401), 1), ..good() }),
        ("settings.rate.burst", pb::QueueSettings { rate: rate(1, seconds(1), 1_000_001), ..good() }),
        ("settings.group_rate.period", pb::QueueSettings { group_rate: rate(1, seconds(0), 1), ..good() }),
        ("settings.group_weights[\"a\"]", pb::QueueSettings { group_weights: weights("a", 1_001), ..good() }),
        ("settings.group_weights[\"\"]", pb::QueueSettings { group_weights: weights("", 0), ..good() }),
    ];
    for (field, settings) in table {
        let status = client.update_queue(update(settings, &[])).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        let details = status.get_error_details();
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, field);
    }
    let paths = update(good(), &["rate", "rate.count"]);
    let status = client.update_queue(paths).await.unwrap_err();
    let details = status.get_error_details();
    assert_eq!(details.bad_request().unwrap().field_violations[0].field, "update_mask.paths[1]");
}
