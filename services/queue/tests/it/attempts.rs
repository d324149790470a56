//! What workers report, how attempts ended, and how queues and workers do.

use nova_proto::queue::v1 as pb;
use pb::TaskState;
use tonic::Code;

use crate::harness::{
    Client, Home, ask, ask_briefly, client, complete, enqueue, eventually, fail, get, put, refer, refused,
    seconds, take, task,
};

fn report(lease: &pb::Lease, fraction: f64, checkpoint: &[u8]) -> pb::LeaseReport {
    pb::LeaseReport {
        lease: Some(refer(lease)),
        progress: Some(pb::Progress { fraction, note: "pages".into() }),
        checkpoint: Some(checkpoint.to_vec().into()),
    }
}

async fn beat(client: &mut Client, reports: Vec<pb::LeaseReport>) -> Vec<pb::HeartbeatResult> {
    let request = pb::HeartbeatRequest { reports, ..Default::default() };
    client.heartbeat(request).await.unwrap().into_inner().results
}

pub(crate) async fn a_report_reaches_readers_and_the_next_attempt(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    let id = put(&mut client, task("t")).await;
    let lease = take(&mut client, ask()).await;
    assert!(!beat(&mut client, vec![report(&lease, 0.25, b"page 7")]).await[0].lost);
    let found = get(&mut client, &id).await;
    let progress = found.progress.unwrap();
    assert_eq!((progress.fraction, &*progress.note, &*found.checkpoint), (0.25, "pages", &b"page 7"[..]));
    client.fail(fail(&lease)).await.unwrap();
    let next = take(&mut client, ask()).await;
    let given = next.task.clone().unwrap();
    assert_eq!((&*given.checkpoint, given.progress), (&b"page 7"[..], None));
    assert_eq!(given.history[0].error.as_ref().unwrap().reason, "BROKEN");
    assert!(beat(&mut client, vec![report(&lease, 1.0, b"stale")]).await[0].lost);
    assert_eq!(&*get(&mut client, &id).await.checkpoint, b"page 7");
    let listed = client.list_tasks(pb::ListTasksRequest::default()).await.unwrap().into_inner().tasks;
    assert!(listed[0].checkpoint.is_empty(), "lists leave checkpoints out");
    client.complete(complete(&next, "r")).await.unwrap();
    assert!(get(&mut client, &id).await.checkpoint.is_empty());
}

pub(crate) async fn a_dead_task_shows_each_attempt_after_a_restart(home: &Home) {
    let server = home.serve().await;
    let mut first = client(&server);
    let id = put(&mut first, task("t")).await;
    take(&mut first, ask_briefly()).await;
    let lease = take(&mut first, ask()).await;
    first.fail(pb::FailRequest { permanent: true, ..fail(&lease) }).await.unwrap();
    server.stop().await;
    let server = home.serve().await;
    let task = get(&mut client(&server), &id).await;
    assert_eq!(task.state(), TaskState::Dead);
    let reasons: Vec<_> =
        task.history.iter().map(|one| (one.number, &*one.error.as_ref().unwrap().reason)).collect();
    assert_eq!(reasons, [(1, "LEASE_EXPIRED"), (2, "BROKEN")]);
    let expired = &task.history[0];
    assert_eq!(expired.worker, "w-1");
    assert!(expired.end_time.unwrap().seconds > expired.start_time.unwrap().seconds);
}

pub(crate) async fn bad_reports_name_their_field(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    put(&mut client, task("t")).await;
    let lease = take(&mut client, ask()).await;
    let good = report(&lease, 0.5, b"");
    for bad in [
        pb::LeaseReport { lease: None, ..good.clone() },
        report(&lease, 1.5, b""),
        report(&lease, f64::NAN, b""),
        report(&lease, 0.5, &[0; (64 << 10) + 1]),
    ] {
        let reports = vec![good.clone(), bad];
        let status = client.heartbeat(pb::HeartbeatRequest { reports, ..Default::default() }).await;
        assert_eq!(status.unwrap_err().code(), Code::InvalidArgument);
    }
    let largest = report(&lease, 1.0, &[7; 64 << 10]);
    assert!(!beat(&mut client, vec![largest]).await[0].lost);
}

async fn queue(client: &mut Client) -> pb::Queue {
    let request = pb::GetQueueRequest { queue: "q".into(), ..Default::default() };
    client.get_queue(request).await.unwrap().into_inner().queue.unwrap()
}

pub(crate) async fn a_queue_shows_how_it_performs(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    client.enqueue(enqueue(vec![task("a"), task("b")])).await.unwrap();
    let performance = queue(&mut client).await.performance.unwrap();
    assert_eq!((performance.enqueued, performance.wait, performance.run), (2, None, None));
    let lease = take(&mut client, ask()).await;
    client.complete(complete(&lease, "r")).await.unwrap();
    let performance = queue(&mut client).await.performance.unwrap();
    assert_eq!((performance.started, performance.completed), (1, 1));
    let (wait, run) = (performance.wait.unwrap(), performance.run.unwrap());
    assert!(wait.p50.is_some() && wait.p95.is_some() && run.p99.is_some() && performance.since.is_some());
}

async fn update(client: &mut Client, settings: pb::QueueSettings, paths: &[&str]) -> pb::QueueSettings {
    let update_mask = prost_types::FieldMask { paths: paths.iter().map(ToString::to_string).collect() };
    let request = pb::UpdateQueueRequest {
        queue: "q".into(),
        settings: Some(settings),
        update_mask: Some(update_mask),
        ..Default::default()
    };
    client.update_queue(request).await.unwrap().into_inner().queue.unwrap().settings.unwrap()
}

pub(crate) async fn a_queue_says_how_long_it_keeps_ended_tasks(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    let both = || pb::QueueSettings { keep_for: seconds(60), keep_bytes: 7, ..Default::default() };
    assert_eq!(update(&mut client, both(), &[]).await, both());
    let none = update(&mut client, pb::QueueSettings::default(), &["keep_for"]).await;
    assert_eq!(none, pb::QueueSettings { keep_for: None, ..both() });
    let id = put(&mut client, task("more than seven bytes")).await;
    let lease = take(&mut client, ask()).await;
    client.complete(complete(&lease, "r")).await.unwrap();
    let gone = pb::GetTaskRequest { task_id: id, ..Default::default() };
    refused(client.get_task(gone).await, Code::NotFound, "NOT_FOUND");
}

async fn workers(client: &mut Client, queue: &str) -> Vec<pb::Worker> {
    let request = pb::ListWorkersRequest { queue: queue.into(), ..Default::default() };
    client.list_workers(request).await.unwrap().into_inner().workers
}

pub(crate) async fn workers_are_listed_with_what_they_hold(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    assert!(workers(&mut client, "").await.is_empty());
    let id = put(&mut client, task("t")).await;
    let lease = take(&mut client, ask_briefly()).await;
    let listed = workers(&mut client, "q").await;
    assert_eq!(listed.len(), 1);
    let worker = &listed[0];
    assert_eq!((&*worker.name, worker.leases, worker.streaming), ("w-1", 1, false));
    assert_eq!(
        (&*worker.identity, &worker.queues[..]),
        ("spiffe://nova.local/user/operator", &["q".to_owned()][..])
    );
    assert!(workers(&mut client, "other").await.is_empty());
    let beat = pb::HeartbeatRequest { leases: vec![refer(&lease)], ..Default::default() };
    client.heartbeat(beat).await.unwrap();
    let seen = |worker: &pb::Worker| worker.last_seen_time.map(|time| (time.seconds, time.nanos));
    assert!(seen(&workers(&mut client, "q").await[0]) > seen(worker), "who heartbeats is there");
    // It expires, and is held by nobody from then on.
    eventually(&mut client, &id, TaskState::Ready).await;
    assert_eq!(workers(&mut client, "q").await[0].leases, 0);
    assert!(lease.token > 0);
}
