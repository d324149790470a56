//! Schedules: stored, shown, and fired once for each tick, whoever leads.

use std::{collections::HashMap, sync::Arc, time::Duration};

use nova_proto::queue::v1::{self as pb, queue_service_client::QueueServiceClient};
use nova_runtime::testing::TestServer;
use nova_testkit::soon;
use nova_types::{Clock as _, HeldClock, SystemClock};
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

use crate::harness::{Client, Home, PATIENCE, client, refused, seconds, task};

const HOUR: Duration = Duration::from_secs(3_600);

fn schedule(cron: &str) -> pb::Schedule {
    pb::Schedule {
        name: "nightly".into(),
        cron: cron.into(),
        time_zone: "Europe/Berlin".into(),
        task: Some(task("t")),
        ..Default::default()
    }
}

fn request(schedule: pb::Schedule) -> pb::PutScheduleRequest {
    pb::PutScheduleRequest { schedule: Some(schedule), ..Default::default() }
}

async fn store(client: &mut Client, schedule: pb::Schedule) -> pb::Schedule {
    client.put_schedule(request(schedule)).await.unwrap().into_inner().schedule.unwrap()
}

async fn read(client: &mut Client, name: &str) -> Result<pb::Schedule, Status> {
    let request = pb::GetScheduleRequest { name: name.into(), ..Default::default() };
    client.get_schedule(request).await.map(|found| found.into_inner().schedule.unwrap())
}

/// The tasks that schedules made, oldest first.
async fn made(client: &mut Client) -> Result<Vec<pb::Task>, Status> {
    let filter = HashMap::from([("schedule".to_owned(), "nightly".to_owned())]);
    let filter = Some(pb::TaskFilter { metadata: filter, ..Default::default() });
    let request = pb::ListTasksRequest { page_size: 1_000, filter, ..Default::default() };
    // Fires what is due first: lists are read beside the engine.
    client.list_queues(pb::ListQueuesRequest::default()).await?;
    let mut tasks = client.list_tasks(request).await?.into_inner().tasks;
    tasks.reverse();
    Ok(tasks)
}

pub(crate) async fn a_schedule_is_stored_shown_and_deleted(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    let put = pb::Schedule { missed: pb::MissedTicks::All.into(), ..schedule("30 2 * * MON-FRI") };
    let stored = store(&mut client, put.clone()).await;
    assert!(stored.next_time.unwrap().seconds > stored.create_time.unwrap().seconds);
    let said = pb::Schedule { create_time: None, next_time: None, ..stored.clone() };
    assert_eq!(said, put);
    assert_eq!(read(&mut client, "nightly").await.unwrap(), stored);
    for name in ["b", "a", "c"] {
        store(&mut client, pb::Schedule { name: name.into(), ..put.clone() }).await;
    }
    let mut names = Vec::new();
    let mut list = pb::ListSchedulesRequest { page_size: 3, ..Default::default() };
    loop {
        let page = client.list_schedules(list.clone()).await.unwrap().into_inner();
        names.push(page.schedules.into_iter().map(|schedule| schedule.name).collect::<Vec<_>>());
        list.page_token = page.next_page_token;
        if list.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(names, [vec!["a", "b", "c"], vec!["nightly"]]);
    let delete = pb::DeleteScheduleRequest { name: "nightly".into(), ..Default::default() };
    client.delete_schedule(delete.clone()).await.unwrap();
    refused(client.delete_schedule(delete).await, Code::NotFound, "NOT_FOUND");
    refused(read(&mut client, "nightly").await, Code::NotFound, "NOT_FOUND");
    let other = pb::ListSchedulesRequest { namespace: "other".into(), ..Default::default() };
    assert!(client.list_schedules(other).await.unwrap().into_inner().schedules.is_empty());
}

pub(crate) async fn a_schedule_fires_pauses_and_goes_on(home: &Home) {
    let clock = Arc::new(HeldClock::at(SystemClock.now()));
    let server = home.serve_at(Arc::clone(&clock) as _).await;
    let mut client = client(&server);
    store(&mut client, schedule("0 * * * *")).await;
    clock.advance(HOUR);
    let first = made(&mut client).await.unwrap();
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].metadata["run"], "7", "labels of its own stay");
    assert_eq!(first[0].traceparent.len(), 55);
    let shown = read(&mut client, "nightly").await.unwrap();
    assert_eq!(shown.last_task_id, first[0].id);
    assert_eq!(shown.last_time.unwrap().to_string(), first[0].metadata["tick"]);
    let paused = store(&mut client, pb::Schedule { paused: true, ..schedule("0 * * * *") }).await;
    assert_eq!(paused.next_time, None);
    clock.advance(HOUR * 3);
    store(&mut client, schedule("0 * * * *")).await;
    assert_eq!(made(&mut client).await.unwrap().len(), 1, "nothing is caught up with");
    clock.advance(HOUR);
    assert_eq!(made(&mut client).await.unwrap().len(), 2);
}

pub(crate) async fn only_the_engine_schedules_for_agents(home: &Home) {
    let server = home.serve().await;
    let reserved = pb::NewTask { queue: "agents.can.shell".into(), ..task("t") };
    let put = || request(pb::Schedule { task: Some(reserved.clone()), ..schedule("0 * * * *") });
    for role in ["worker", "operator", "developer", "agent"] {
        let mut client = QueueServiceClient::new(server.channel_as("user/somebody", &[role]));
        refused(client.put_schedule(put()).await, Code::PermissionDenied, "PERMISSION_DENIED");
    }
    let mut client = client(&server);
    refused(read(&mut client, "nightly").await, Code::NotFound, "NOT_FOUND");
    let mut engine = QueueServiceClient::new(server.channel_as("svc/lifecycle", &["lifecycle"]));
    engine.put_schedule(put()).await.unwrap();
}

/// The first field that a refusal names.
#[track_caller]
fn field<T: std::fmt::Debug>(answer: Result<Response<T>, Status>) -> String {
    let status = answer.expect_err("bad input is refused");
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let details = status.get_error_details();
    details.bad_request().expect("the field is named").field_violations[0].field.clone()
}

pub(crate) async fn a_bad_schedule_names_its_field(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    let good = || schedule("0 * * * *");
    let with = |task| pb::Schedule { task: Some(task), ..good() };
    let labels = |count: usize| (0..count).map(|label| (label.to_string(), String::new())).collect();
    let table = [
        ("schedule.name", pb::Schedule { name: "a b".into(), ..good() }),
        ("schedule.cron", schedule("")),
        ("schedule.cron", schedule("* * * *")),
        ("schedule.cron", schedule("* * * * * * 2030")),
        ("schedule.cron", schedule("0 0 30 2 *")),
        ("schedule.cron", schedule(&format!("{} * * * *", "1,".repeat(200)))),
        ("schedule.time_zone", pb::Schedule { time_zone: "Mars/Base".into(), ..good() }),
        ("schedule.missed", pb::Schedule { missed: 9, ..good() }),
        ("schedule.task", pb::Schedule { task: None, ..good() }),
        ("schedule.task.kind", with(pb::NewTask { kind: String::new(), ..task("t") })),
        ("schedule.task.priority", with(pb::NewTask { priority: 10, ..task("t") })),
        ("schedule.task.request_id", with(pb::NewTask { request_id: "r".into(), ..task("t") })),
        ("schedule.task.delay", with(pb::NewTask { delay: seconds(1), ..task("t") })),
        ("schedule.task.payload", with(pb::NewTask { payload: vec![0; (16 << 10) + 1].into(), ..task("t") })),
        ("schedule.task.metadata", with(pb::NewTask { metadata: labels(31), ..task("t") })),
        (
            "schedule.task.metadata[\"tick\"]",
            with(pb::NewTask { metadata: [("tick".into(), "t".into())].into(), ..task("t") }),
        ),
    ];
    for (expected, schedule) in table {
        assert_eq!(field(client.put_schedule(request(schedule)).await), expected);
    }
    assert_eq!(field(client.put_schedule(pb::PutScheduleRequest::default()).await), "schedule");
    assert_eq!(field(client.get_schedule(pb::GetScheduleRequest::default()).await), "name");
    assert_eq!(field(client.delete_schedule(pb::DeleteScheduleRequest::default()).await), "name");
    let list = pb::ListSchedulesRequest { page_size: 1_001, ..Default::default() };
    assert_eq!(field(client.list_schedules(list).await), "page_size");
    assert!(made(&mut client).await.unwrap().is_empty());
    let list = client.list_schedules(pb::ListSchedulesRequest::default()).await.unwrap().into_inner();
    assert!(list.schedules.is_empty(), "nothing half done");
}

/// Waits until `count` more ticks have fired than before; meanwhile nobody may lead.
async fn more_ticks(server: &TestServer, before: usize, count: usize) -> Vec<pb::Task> {
    let enough = async || match made(&mut client(server)).await {
        Ok(tasks) => Some(tasks).filter(|tasks| tasks.len() >= before + count),
        Err(status) => {
            assert_eq!(status.code(), Code::Unavailable, "{status}");
            None
        }
    };
    soon("the schedule ticks", PATIENCE, enough).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_task_for_each_tick_whoever_leads() {
    let home = Home::redis();
    let (first, second) = (home.serve().await, home.serve().await);
    store(&mut client(&second), schedule("* * * * * *")).await;
    let mut fired = more_ticks(&second, 0, 2).await.len();
    for _ in 0..2 {
        home.depose().await;
        fired = more_ticks(&second, fired, 2).await.len();
    }
    first.stop().await;
    fired = more_ticks(&second, fired, 2).await.len();
    let third = home.serve().await;
    drop(second);
    let tasks = more_ticks(&third, fired, 2).await;
    let tick = |task: &pb::Task| task.metadata["tick"].parse::<prost_types::Timestamp>().unwrap().seconds;
    let ticks: Vec<i64> = tasks.iter().map(tick).collect();
    let from = ticks[0];
    assert_eq!(ticks, (from..).take(ticks.len()).collect::<Vec<_>>(), "none twice, none left out");
}
