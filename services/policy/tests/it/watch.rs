//! Following the policy.

use std::time::Duration;

use nova_authz::Snapshot;
use nova_policy::Config;
use nova_proto::policy::v1 as pb;
use tonic::{Code, Streaming};

use crate::harness::{Policy, eventually};

type Watch = Streaming<pb::WatchSnapshotsResponse>;

async fn watch(policy: &Policy, revision: &str) -> Watch {
    let request = pb::WatchSnapshotsRequest { revision: revision.to_owned() };
    policy.as_daemon("queue").watch_snapshots(request).await.unwrap().into_inner()
}

async fn next(watch: &mut Watch) -> Option<Snapshot> {
    let message =
        tokio::time::timeout(Duration::from_secs(60), watch.message()).await.unwrap().unwrap().unwrap();
    message.snapshot.map(|snapshot| Snapshot::try_from(snapshot).unwrap())
}

#[tokio::test]
async fn a_new_watcher_gets_the_whole_active_revision() {
    let policy = Policy::start().await;
    let snapshot = next(&mut watch(&policy, "").await).await.unwrap();
    assert_eq!(snapshot.revision(), policy.status().await.revision);
    assert!(nova_authz::verify(&snapshot).is_ok());
}

#[tokio::test]
async fn a_watcher_that_has_the_active_revision_is_told_so() {
    let policy = Policy::start().await;
    let revision = policy.status().await.revision;
    assert_eq!(next(&mut watch(&policy, &revision).await).await, None);
}

#[tokio::test]
async fn a_change_is_pushed_to_every_watcher() {
    let mut policy = Policy::start().await;
    let (mut one, mut two) = (watch(&policy, "").await, watch(&policy, "").await);
    next(&mut one).await;
    next(&mut two).await;
    let revision = policy.put("extra.rego", "package extra\nx := 1").await.unwrap();
    assert_eq!(next(&mut one).await.unwrap().revision(), revision);
    assert_eq!(next(&mut two).await.unwrap().revision(), revision);
}

#[tokio::test]
async fn the_status_names_who_watches() {
    let policy = Policy::start().await;
    let mut stream = watch(&policy, "").await;
    next(&mut stream).await;
    assert_eq!(policy.status().await.watchers, ["spiffe://nova.local/svc/queue"]);
    drop(stream);
    eventually(async || policy.status().await.watchers.is_empty()).await;
}

#[tokio::test]
async fn more_watchers_than_there_is_room_for_are_refused() {
    let policy = Policy::start_with(Config { most_watchers: 1, ..Config::default() }).await;
    let mut first = watch(&policy, "").await;
    next(&mut first).await;
    let request = pb::WatchSnapshotsRequest { revision: String::new() };
    let refused = policy.as_daemon("node").watch_snapshots(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn a_watch_ends_when_the_daemon_drains() {
    let policy = Policy::start().await;
    let mut stream = watch(&policy, "").await;
    next(&mut stream).await;
    policy.server.stop().await;
    assert!(!matches!(stream.message().await, Ok(Some(_))));
}
