//! What the queue refuses.

use nova_proto::queue::v1::work_request::Message as Said;
use nova_proto::queue::v1::*;
use prost::Message;
use prost_types::Duration;
use tonic::Code;

use super::{Case, UNKNOWN, bad, fails, unknown};

macro_rules! rpc {
    ($method:literal) => {
        concat!("nova.queue.v1.QueueService/", $method)
    };
}

const MIB: usize = 1 << 20;

pub(crate) fn good(rpc: &str) -> Option<Vec<u8>> {
    Some(match rpc {
        rpc!("Enqueue") => enqueue(task()).encode_to_vec(),
        rpc!("Lease") => lease().encode_to_vec(),
        rpc!("Heartbeat") => heartbeat(1).encode_to_vec(),
        rpc!("Complete") => complete(UNKNOWN, 0).encode_to_vec(),
        rpc!("Fail") => failed().encode_to_vec(),
        rpc!("Release") => ReleaseRequest { lease: held(UNKNOWN), ..Default::default() }.encode_to_vec(),
        rpc!("ProveLeases") => prove(UNKNOWN, 1).encode_to_vec(),
        rpc!("GetTask") => get(UNKNOWN).encode_to_vec(),
        rpc!("CancelTasks") => CancelTasksRequest { queue: "q".into(), ..Default::default() }.encode_to_vec(),
        rpc!("RedriveTasks") => {
            RedriveTasksRequest { queue: "q".into(), ..Default::default() }.encode_to_vec()
        }
        rpc!("PurgeTasks") => {
            let states = vec![TaskState::Dead.into()];
            PurgeTasksRequest { queue: "q".into(), states, ..Default::default() }.encode_to_vec()
        }
        rpc!("GetQueue") => GetQueueRequest { queue: "q".into(), ..Default::default() }.encode_to_vec(),
        rpc!("UpdateQueue") => update(&["max_tasks"]).encode_to_vec(),
        rpc!("PauseQueue") => PauseQueueRequest { queue: "q".into(), ..Default::default() }.encode_to_vec(),
        rpc!("DrainQueue") => DrainQueueRequest { queue: "q".into(), ..Default::default() }.encode_to_vec(),
        rpc!("ListWorkers") => ListWorkersRequest { queue: "q".into(), ..Default::default() }.encode_to_vec(),
        rpc!("ResumeQueue") => ResumeQueueRequest { queue: "q".into(), ..Default::default() }.encode_to_vec(),
        rpc!("DeleteQueue") => DeleteQueueRequest { queue: "q".into(), ..Default::default() }.encode_to_vec(),
        rpc!("PutSchedule") => put(schedule("0 3 * * *")).encode_to_vec(),
        rpc!("GetSchedule") => GetScheduleRequest { name: "s".into(), ..Default::default() }.encode_to_vec(),
        rpc!("DeleteSchedule") => {
            DeleteScheduleRequest { name: "s".into(), ..Default::default() }.encode_to_vec()
        }
        _ => return None,
    })
}

fn ids(id: &str) -> Vec<String> {
    vec![id.to_owned()]
}

fn update(paths: &[&str]) -> UpdateQueueRequest {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    UpdateQueueRequest {
        queue: "q".into(),
        settings: Some(QueueSettings { max_tasks: 7, ..Default::default() }),
        update_mask: Some(prost_types::FieldMask { paths }),
        ..Default::default()
    }
}

fn keep(for_seconds: i64) -> UpdateQueueRequest {
    set(QueueSettings { keep_for: seconds(for_seconds), ..Default::default() })
}

/// Sets these settings.
fn set(settings: QueueSettings) -> UpdateQueueRequest {
    UpdateQueueRequest { queue: "q".into(), settings: Some(settings), ..Default::default() }
}

fn control() -> Vec<Case> {
    let both = CancelTasksRequest { task_ids: ids(UNKNOWN), queue: "q".into(), ..Default::default() };
    let many = CancelTasksRequest { task_ids: vec![UNKNOWN.to_owned(); 1_001], ..Default::default() };
    let wordy = CancelTasksRequest { queue: "q".into(), message: "m".repeat(257), ..Default::default() };
    let stateless = PurgeTasksRequest { queue: "q".into(), ..Default::default() };
    let strange = PurgeTasksRequest { queue: "q".into(), states: vec![99], ..Default::default() };
    let kind = TaskFilter { kind: "a b".into(), ..Default::default() };
    let kind = RedriveTasksRequest { queue: "q".into(), filter: Some(kind), ..Default::default() };
    let group = TaskFilter { group: Some("g".repeat(129)), ..Default::default() };
    let group = CancelTasksRequest { queue: "q".into(), filter: Some(group), ..Default::default() };
    let nothing = UpdateQueueRequest { queue: "q".into(), ..Default::default() };
    let rate = |count, period, burst| QueueSettings {
        rate: Some(RateLimit { count, period, burst }),
        ..Default::default()
    };
    let group_rate = QueueSettings { group_rate: Some(RateLimit::default()), ..Default::default() };
    let weight = QueueSettings { group_weights: [("a".to_owned(), 0)].into(), ..Default::default() };
    let weights = (0..1_001).map(|group| (group.to_string(), 1)).collect();
    let weights = QueueSettings { group_weights: weights, ..Default::default() };
    let drain = DrainQueueRequest { queue: "q".repeat(129), ..Default::default() };
    let resume = ResumeQueueRequest::default();
    vec![
        bad(rpc!("DrainQueue"), "a long name", &drain, "queue"),
        bad(rpc!("ResumeQueue"), "nothing", &resume, "queue"),
        bad(rpc!("DeleteQueue"), "nothing", &DeleteQueueRequest::default(), "queue"),
        unknown(rpc!("DeleteQueue"), &DeleteQueueRequest { queue: "gone".into(), ..Default::default() }),
        bad(rpc!("CancelTasks"), "nothing", &CancelTasksRequest::default(), "queue"),
        bad(rpc!("CancelTasks"), "ids and a queue", &both, "task_ids"),
        bad(rpc!("CancelTasks"), "1,001 ids", &many, "task_ids"),
        bad(rpc!("CancelTasks"), "a long message", &wordy, "message"),
        bad(rpc!("RedriveTasks"), "a bad kind", &kind, "filter.kind"),
        bad(rpc!("PurgeTasks"), "no states", &stateless, "states"),
        bad(rpc!("PurgeTasks"), "state 99", &strange, "states[0]"),
        bad(rpc!("GetQueue"), "nothing", &GetQueueRequest::default(), "queue"),
        bad(rpc!("CancelTasks"), "a long group", &group, "filter.group"),
        bad(rpc!("UpdateQueue"), "no settings", &nothing, "settings"),
        bad(rpc!("UpdateQueue"), "no count", &set(rate(0, seconds(1), 0)), "settings.rate.count"),
        bad(rpc!("UpdateQueue"), "no period", &set(rate(1, None, 0)), "settings.rate.period"),
        bad(rpc!("UpdateQueue"), "a week", &set(rate(1, seconds(604_800), 0)), "settings.rate.period"),
        bad(rpc!("UpdateQueue"), "a negative period", &set(rate(1, seconds(-1), 0)), "settings.rate.period"),
        bad(rpc!("UpdateQueue"), "a huge burst", &set(rate(1, seconds(1), u32::MAX)), "settings.rate.burst"),
        bad(rpc!("UpdateQueue"), "an empty rate", &set(group_rate), "settings.group_rate.count"),
        bad(rpc!("UpdateQueue"), "weight 0", &set(weight), "settings.group_weights[\"a\"]"),
        bad(rpc!("UpdateQueue"), "1,001 weights", &set(weights), "settings.group_weights"),
        bad(rpc!("UpdateQueue"), "to keep for less than nothing", &keep(-1), "settings.keep_for"),
        bad(rpc!("UpdateQueue"), "to keep for ever", &keep(i64::MAX), "settings.keep_for"),
        bad(
            rpc!("DrainQueue"),
            "a bad name",
            &DrainQueueRequest { queue: "a b".into(), ..Default::default() },
            "queue",
        ),
        bad(
            rpc!("ResumeQueue"),
            "a bad name",
            &ResumeQueueRequest { queue: "a b".into(), ..Default::default() },
            "queue",
        ),
        bad(
            rpc!("ListWorkers"),
            "a bad name",
            &ListWorkersRequest { queue: "a b".into(), ..Default::default() },
            "queue",
        ),
        bad(rpc!("UpdateQueue"), "an unknown path", &update(&["colour"]), "update_mask.paths[0]"),
        bad(
            rpc!("PauseQueue"),
            "a bad name",
            &PauseQueueRequest { queue: "a b".into(), ..Default::default() },
            "queue",
        ),
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    [enqueues(), leases(), reports(), settlements(), reads(), work(), control(), schedules()].concat()
}

fn put(schedule: Schedule) -> PutScheduleRequest {
    PutScheduleRequest { schedule: Some(schedule), ..Default::default() }
}

fn schedule(cron: &str) -> Schedule {
    Schedule { name: "s".into(), cron: cron.into(), task: Some(task()), ..Default::default() }
}

fn schedules() -> Vec<Case> {
    let one = |what: &str, schedule: Schedule, field: &str| {
        bad(rpc!("PutSchedule"), what, &put(schedule), &format!("schedule{field}"))
    };
    let good = || schedule("0 3 * * *");
    let with = |task| Schedule { task: Some(task), ..good() };
    let many = ListSchedulesRequest { page_size: 1_001, ..Default::default() };
    let mut cases = vec![
        bad(rpc!("PutSchedule"), "nothing", &PutScheduleRequest::default(), "schedule"),
        one("an empty schedule", Schedule::default(), ".name"),
        one("no cron", schedule(""), ".cron"),
        one("four fields", schedule("0 3 * *"), ".cron"),
        one("minute 60", schedule("60 3 * * *"), ".cron"),
        one("the 30th of February", schedule("0 0 30 2 *"), ".cron"),
        one("a long cron", schedule(&"1,".repeat(1_000)), ".cron"),
        one("a zone that is none", Schedule { time_zone: "Mars/Base".into(), ..good() }, ".time_zone"),
        one("a path as zone", Schedule { time_zone: "../../etc/passwd".into(), ..good() }, ".time_zone"),
        one("policy 99", Schedule { missed: 99, ..good() }, ".missed"),
        one("no task", Schedule { task: None, ..good() }, ".task"),
        one("an empty task", with(NewTask::default()), ".task.queue"),
        one("a key", with(NewTask { request_id: "r".into(), ..task() }), ".task.request_id"),
        one("a delay", with(NewTask { delay: seconds(1), ..task() }), ".task.delay"),
        one("1 MiB", with(NewTask { payload: vec![0; MIB].into(), ..task() }), ".task.payload"),
        bad(rpc!("GetSchedule"), "nothing", &GetScheduleRequest::default(), "name"),
        bad(rpc!("DeleteSchedule"), "nothing", &DeleteScheduleRequest::default(), "name"),
        bad(rpc!("ListSchedules"), "1,001 of them", &many, "page_size"),
    ];
    let gone = String::from("gone");
    cases
        .push(unknown(rpc!("GetSchedule"), &GetScheduleRequest { name: gone.clone(), ..Default::default() }));
    cases.push(unknown(rpc!("DeleteSchedule"), &DeleteScheduleRequest { name: gone, ..Default::default() }));
    cases
}

fn enqueues() -> Vec<Case> {
    let one = |what: &str, task: NewTask, field: &str| bad(rpc!("Enqueue"), what, &enqueue(task), field);
    let retry = |retry: RetryPolicy| NewTask { retry: Some(retry), ..task() };
    let many = EnqueueRequest { tasks: vec![task(); 1_001], ..Default::default() };
    let all_bad = EnqueueRequest { tasks: vec![NewTask::default(); 1_000], ..Default::default() };
    vec![
        bad(rpc!("Enqueue"), "nothing", &EnqueueRequest::default(), "tasks"),
        bad(rpc!("Enqueue"), "1,001 tasks", &many, "tasks"),
        bad(rpc!("Enqueue"), "1,000 bad tasks", &all_bad, "tasks[0].queue"),
        one("an empty task", NewTask::default(), "tasks[0].queue"),
        one("no kind", NewTask { kind: String::new(), ..task() }, "tasks[0].kind"),
        one("a name of 300 bytes", NewTask { queue: "q".repeat(300), ..task() }, "tasks[0].queue"),
        one("2 MiB", NewTask { payload: vec![0; 2 * MIB].into(), ..task() }, "tasks[0].payload"),
        one("a long group", NewTask { group: "g".repeat(129), ..task() }, "tasks[0].group"),
        one("priority 10", NewTask { priority: 10, ..task() }, "tasks[0].priority"),
        one("a long key", NewTask { request_id: "r".repeat(300), ..task() }, "tasks[0].request_id"),
        one("a negative delay", NewTask { delay: seconds(-1), ..task() }, "tasks[0].delay"),
        one("an endless delay", NewTask { delay: seconds(i64::MAX), ..task() }, "tasks[0].delay"),
        one(
            "a negative timeout",
            NewTask { attempt_timeout: seconds(-5), ..task() },
            "tasks[0].attempt_timeout",
        ),
        one("no time at all", NewTask { deadline: seconds(0), ..task() }, "tasks[0].deadline"),
        one("a long unique key", NewTask { unique_key: "u".repeat(129), ..task() }, "tasks[0].unique_key"),
        one("a time without a key", NewTask { unique_for: seconds(1), ..task() }, "tasks[0].unique_for"),
        one("a bad parent", NewTask { after: ids("lost"), ..task() }, "tasks[0].after[0]"),
        one("an unknown parent", NewTask { after: ids(UNKNOWN), ..task() }, "tasks[0].after[0]"),
        one("65 parents", NewTask { after: vec![UNKNOWN.to_owned(); 65], ..task() }, "tasks[0].after"),
        one("itself as a parent", NewTask { after_index: vec![0], ..task() }, "tasks[0].after_index[0]"),
        one("a later parent", NewTask { after_index: vec![u32::MAX], ..task() }, "tasks[0].after_index[0]"),
        one(
            "101 attempts",
            retry(RetryPolicy { max_attempts: 101, ..Default::default() }),
            "tasks[0].retry.max_attempts",
        ),
        one(
            "a factor of 0.5",
            retry(RetryPolicy { factor: 0.5, ..Default::default() }),
            "tasks[0].retry.factor",
        ),
        one(
            "no factor at all",
            retry(RetryPolicy { factor: f64::NAN, ..Default::default() }),
            "tasks[0].retry.factor",
        ),
        one(
            "a negative backoff",
            retry(RetryPolicy { initial_backoff: seconds(-1), ..Default::default() }),
            "tasks[0].retry.initial_backoff",
        ),
        one(
            "a long label",
            NewTask { metadata: [("key".to_owned(), "v".repeat(300))].into(), ..task() },
            "tasks[0].metadata[\"key\"]",
        ),
    ]
}

fn leases() -> Vec<Case> {
    let one = |what: &str, request: LeaseRequest, field: &str| bad(rpc!("Lease"), what, &request, field);
    let lost = [LeaseRef { task_id: "lost".to_owned(), token: 1 }];
    vec![
        one("nothing", LeaseRequest::default(), "queues"),
        one("no worker", LeaseRequest { worker: String::new(), ..lease() }, "worker"),
        one("65 queues", LeaseRequest { queues: vec!["q".to_owned(); 65], ..lease() }, "queues"),
        one("a bad name", LeaseRequest { queues: vec!["q q".to_owned()], ..lease() }, "queues[0]"),
        one("1,001 tasks", LeaseRequest { max_tasks: 1_001, ..lease() }, "max_tasks"),
        one(
            "a lease of a day",
            LeaseRequest { lease_duration: seconds(86_400), ..lease() },
            "lease_duration",
        ),
        one("a long wait", LeaseRequest { wait: seconds(61), ..lease() }, "wait"),
        bad(rpc!("Heartbeat"), "nothing", &HeartbeatRequest::default(), "leases"),
        bad(rpc!("Heartbeat"), "1,001 leases", &heartbeat(1_001), "leases"),
        bad(
            rpc!("Heartbeat"),
            "a bad id",
            &HeartbeatRequest { leases: lost.to_vec(), ..Default::default() },
            "leases[0].task_id",
        ),
        bad(rpc!("ProveLeases"), "nothing", &ProveLeasesRequest::default(), "leases"),
        bad(rpc!("ProveLeases"), "1,001 leases", &prove(UNKNOWN, 1_001), "leases"),
        bad(rpc!("ProveLeases"), "a bad id", &prove("lost", 1), "leases[0].task_id"),
    ]
}

fn reports() -> Vec<Case> {
    let good = LeaseReport { lease: held(UNKNOWN), ..Default::default() };
    let one = |what: &str, report: LeaseReport, field: &str| {
        let request = HeartbeatRequest { reports: vec![good.clone(), report], ..Default::default() };
        bad(rpc!("Heartbeat"), what, &request, field)
    };
    let progress = |fraction: f64, note: usize| LeaseReport {
        progress: Some(Progress { fraction, note: "n".repeat(note) }),
        ..good.clone()
    };
    let large = LeaseReport { checkpoint: Some(vec![0; (64 << 10) + 1].into()), ..good.clone() };
    let many = HeartbeatRequest { reports: vec![good.clone(); 1_000], ..heartbeat(1) };
    vec![
        one("a report on nothing", LeaseReport::default(), "reports[1].lease"),
        one("more than all", progress(1.01, 0), "reports[1].progress.fraction"),
        one("less than nothing", progress(-0.01, 0), "reports[1].progress.fraction"),
        one("no fraction at all", progress(f64::NAN, 0), "reports[1].progress.fraction"),
        one("a long note", progress(0.5, 257), "reports[1].progress.note"),
        one("a large checkpoint", large, "reports[1].checkpoint"),
        bad(rpc!("Heartbeat"), "1,000 reports and a lease", &many, "leases"),
    ]
}

fn settlements() -> Vec<Case> {
    let wordy = Some(TaskError { reason: "r".repeat(65), message: String::new() });
    let lost = |rpc, body: Vec<u8>| Case {
        body,
        ..fails(rpc, "a lease that never was", &(), Code::FailedPrecondition, "LEASE_LOST")
    };
    vec![
        bad(rpc!("Complete"), "nothing", &CompleteRequest::default(), "lease"),
        bad(rpc!("Complete"), "a bad id", &complete("lost", 0), "lease.task_id"),
        bad(rpc!("Complete"), "2 MiB", &complete(UNKNOWN, 2 * MIB), "result"),
        lost(rpc!("Complete"), complete(UNKNOWN, 0).encode_to_vec()),
        bad(rpc!("Fail"), "nothing", &FailRequest::default(), "lease"),
        bad(rpc!("Fail"), "no reason", &FailRequest { error: None, ..failed() }, "error.reason"),
        bad(rpc!("Fail"), "a long reason", &FailRequest { error: wordy, ..failed() }, "error.reason"),
        bad(
            rpc!("Fail"),
            "no trace",
            &FailRequest { traceparent: "00-1-2-03".into(), ..failed() },
            "traceparent",
        ),
        bad(
            rpc!("Fail"),
            "a late retry",
            &FailRequest { retry_after: seconds(i64::MAX), ..failed() },
            "retry_after",
        ),
        lost(rpc!("Fail"), failed().encode_to_vec()),
        bad(rpc!("Release"), "nothing", &ReleaseRequest::default(), "lease"),
        bad(
            rpc!("Release"),
            "a snooze into the past",
            &ReleaseRequest { lease: held(UNKNOWN), delay: seconds(-1), ..Default::default() },
            "delay",
        ),
        lost(rpc!("Release"), ReleaseRequest { lease: held(UNKNOWN), ..Default::default() }.encode_to_vec()),
    ]
}

fn reads() -> Vec<Case> {
    let watch = |queue: &str, filter: &str| WatchTasksRequest {
        queue: queue.to_owned(),
        metadata_filter: filter.to_owned(),
        ..Default::default()
    };
    vec![
        bad(rpc!("GetTask"), "nothing", &GetTaskRequest::default(), "task_id"),
        unknown(rpc!("GetTask"), &get(UNKNOWN)),
        bad(
            rpc!("ListTasks"),
            "state 99",
            &ListTasksRequest { states: vec![99], ..Default::default() },
            "states[0]",
        ),
        bad(
            rpc!("ListTasks"),
            "a name of 300 bytes",
            &ListTasksRequest { queue: "q".repeat(300), ..Default::default() },
            "queue",
        ),
        bad(rpc!("WatchTasks"), "a name of 300 bytes", &watch(&"q".repeat(300), ""), "queue"),
        bad(rpc!("WatchTasks"), "no value", &watch("", "run"), "metadata_filter"),
    ]
}

fn work() -> Vec<Case> {
    let said = |message| WorkRequest { message: Some(message) };
    let open = WorkOpen { queues: vec!["q".to_owned()], worker: "w".to_owned(), ..Default::default() };
    let opened =
        |what: &str, open: WorkOpen, field: &str| bad(rpc!("Work"), what, &said(Said::Open(open)), field);
    vec![
        bad(rpc!("Work"), "nothing", &WorkRequest::default(), "message"),
        bad(rpc!("Work"), "credit before it is open", &said(Said::Credit(1)), "message"),
        opened("no queues", WorkOpen { queues: Vec::new(), ..open.clone() }, "open.queues"),
        opened("no worker", WorkOpen { worker: String::new(), ..open.clone() }, "open.worker"),
        opened("much credit", WorkOpen { credit: 10_001, ..open.clone() }, "open.credit"),
        opened(
            "a short lease",
            WorkOpen { lease_duration: seconds(-1), ..open.clone() },
            "open.lease_duration",
        ),
        opened("a bad namespace", WorkOpen { namespace: "n".repeat(300), ..open }, "open.namespace"),
    ]
}

fn enqueue(task: NewTask) -> EnqueueRequest {
    EnqueueRequest { tasks: vec![task], ..Default::default() }
}

fn task() -> NewTask {
    NewTask { queue: "q".to_owned(), kind: "k".to_owned(), ..Default::default() }
}

fn lease() -> LeaseRequest {
    LeaseRequest { queues: vec!["q".to_owned()], worker: "w".to_owned(), ..Default::default() }
}

fn heartbeat(count: usize) -> HeartbeatRequest {
    HeartbeatRequest { leases: held(UNKNOWN).into_iter().cycle().take(count).collect(), ..Default::default() }
}

fn complete(task: &str, bytes: usize) -> CompleteRequest {
    CompleteRequest { lease: held(task), result: vec![0; bytes].into(), ..Default::default() }
}

fn prove(task: &str, count: usize) -> ProveLeasesRequest {
    let leases = held(task).into_iter().cycle().take(count).collect();
    ProveLeasesRequest { leases, ..Default::default() }
}

fn failed() -> FailRequest {
    let error = TaskError { reason: "BROKEN".to_owned(), message: String::new() };
    FailRequest { lease: held(UNKNOWN), error: Some(error), ..Default::default() }
}

fn held(task: &str) -> Option<LeaseRef> {
    Some(LeaseRef { task_id: task.to_owned(), token: 1 })
}

fn get(task: &str) -> GetTaskRequest {
    GetTaskRequest { task_id: task.to_owned(), ..Default::default() }
}

fn seconds(seconds: i64) -> Option<Duration> {
    Some(Duration { seconds, nanos: 0 })
}
