//! `nova queue`, as people put tasks in, follow them, and give dead ones another life.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Child;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use nova_client::Mesh;
use nova_proto::queue::v1::{
    CompleteRequest, FailRequest, HeartbeatRequest, Lease, LeaseRef, LeaseReport, LeaseRequest, Progress,
    TaskError,
};
use nova_testkit::{Nova, Ran, eventually};
use nova_types::{Clock as _, SystemClock, Timestamp, wire};
use serde_json::{Value, json as value};
use tokio::runtime::Runtime;

use crate::queue_command::{PATIENCE, enqueue, json, mesh, refused};

/// Longest that a worker waits for a task.
const WAIT: Duration = Duration::from_secs(30);
/// How long it holds one: past the end of a test on a busy machine.
const HOLD: Duration = Duration::from_secs(1_800);

/// Trace context of an attempt that failed.
const SPAN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Somebody who takes tasks, with a token that the command made.
struct Worker {
    mesh: Mesh,
    runtime: Runtime,
}

impl Worker {
    fn of(nova: &Nova) -> Self {
        let token = nova.run(&["identity", "token", "worker/mailer", "--role", "worker"]).ok();
        let runtime = Runtime::new().expect("a runtime for the calls");
        let _entered = runtime.enter();
        let mesh = nova.bearer(Some(token.trim().to_owned()), nova.endpoints());
        Self { mesh, runtime }
    }

    /// Takes a task of a queue.
    fn lease(&self, queue: &str) -> Lease {
        let request = LeaseRequest {
            queues: vec![queue.to_owned()],
            worker: "mailer".to_owned(),
            lease_duration: Some(wire::to_duration(HOLD)),
            wait: Some(wire::to_duration(WAIT)),
            ..LeaseRequest::default()
        };
        let answer = self.runtime.block_on(self.mesh.queue().lease(request)).expect("a worker may lease");
        answer.into_inner().leases.pop().expect("there is a task to be had")
    }

    /// Tells how far a task is, and leaves something for the next attempt.
    fn report(&self, lease: &Lease, fraction: f64, note: &str, checkpoint: &str) {
        let task_id = lease.task.as_ref().expect("a lease is of a task").id.clone();
        let report = LeaseReport {
            lease: Some(LeaseRef { task_id, token: lease.token }),
            progress: Some(Progress { fraction, note: note.to_owned() }),
            checkpoint: Some(checkpoint.to_owned().into()),
        };
        let request = HeartbeatRequest {
            lease_duration: Some(wire::to_duration(HOLD)),
            reports: vec![report],
            ..HeartbeatRequest::default()
        };
        let answer = self.runtime.block_on(self.mesh.queue().heartbeat(request)).expect("it is answered");
        assert!(!answer.into_inner().results[0].lost);
    }

    /// Takes a task and fails it, for good or not; gives its id, and how long it rests.
    fn fail(&self, queue: &str, reason: &str, permanent: bool) -> (String, Duration) {
        let Lease { task, token, .. } = self.lease(queue);
        let task_id = task.expect("a lease is of a task").id;
        let lease = Some(LeaseRef { task_id: task_id.clone(), token });
        let error = Some(TaskError { reason: reason.to_owned(), message: "no route".to_owned() });
        let traceparent = SPAN.to_owned();
        let request = FailRequest { lease, error, permanent, traceparent, ..FailRequest::default() };
        let answer = self.runtime.block_on(self.mesh.queue().fail(request)).expect("the lease is held");
        let again = answer.into_inner().retry_time.map(|time| Timestamp::from_wire(&time));
        (task_id, again.map(|again| again.since(SystemClock.now())).unwrap_or_default())
    }

    /// Takes a task and completes it.
    fn complete(&self, queue: &str, result: &str) {
        let Lease { task, token, .. } = self.lease(queue);
        let task_id = task.expect("a lease is of a task").id;
        let result = result.to_owned().into();
        let request =
            CompleteRequest { lease: Some(LeaseRef { task_id, token }), result, ..Default::default() };
        self.runtime.block_on(self.mesh.queue().complete(request)).expect("the lease is held");
    }
}

pub(crate) fn dead_tasks_live_again(store: &str) {
    let nova = mesh(store);
    let worker = Worker::of(&nova);
    enqueue(&nova, &["mail", "send"]);
    let (down, _) = worker.fail("mail", "SMTP_DOWN", true);
    enqueue(&nova, &["mail", "send"]);
    let (lost, _) = worker.fail("mail", "NO_ROUTE", true);
    enqueue(&nova, &["mail", "send"]);
    let held = worker.lease("mail").task.expect("a lease is of a task").id;

    let stats = nova.run(&["queue", "stats", "mail"]).ok();
    for told in ["3 enqueued", "3 started", "0 completed", "2 failed", "0 expired", "2 dead", " at p95, "] {
        assert!(stats.contains(told), "{told}: {stats}");
    }
    let shown = nova.run(&["queue", "show", &lost]).ok();
    assert!(
        shown.contains("last error  NO_ROUTE: no route") && shown.contains("1  NO_ROUTE after"),
        "{shown}"
    );
    assert!(shown.contains("by mailer\n") && shown.matches("no route").count() == 2, "{shown}");
    assert_eq!(json(&nova, &["show", &lost])["history"][0]["traceparent"], SPAN);
    let listed = json(&nova, &["workers", "--queue", "mail"]);
    let [workers] = &listed.as_array().expect("a list")[..] else { panic!("one works: {listed}") };
    assert_eq!((&workers["name"], &workers["leases"]), (&value!("mailer"), &value!(1)));
    assert_eq!((&workers["queues"], &workers["streaming"]), (&value!(["mail"]), &value!(false)));
    assert!(workers["identity"].as_str().is_some_and(|id| id.ends_with("/worker/mailer")), "{workers}");
    let listed = nova.run(&["queue", "workers"]).ok();
    assert!(listed.lines().nth(1).is_some_and(|row| row.starts_with("mailer ")), "{listed}");
    let dry = json(&nova, &["redrive", "--queue", "mail", "--error", "NO_ROUTE", "--dry-run"]);
    assert_eq!((&dry["would_be_redriven"], &dry["first"][0]["id"]), (&value!(1), &value!(lost)));
    let dry = json(&nova, &["cancel", "--queue", "mail", "--dry-run"]);
    assert_eq!((&dry["would_be_cancelled"], &dry["first"][0]["id"]), (&value!(1), &value!(held)));
    let dry = nova.run(&["queue", "purge", &held, &lost, "--dry-run"]).ok();
    assert!(dry.contains(&lost) && !dry.contains(&held) && dry.ends_with("1 would be purged\n"), "{dry}");
    assert_eq!(json(&nova, &["show", &lost])["state"], "dead", "nothing was changed");
    refused(&nova, &["purge", &held], 1, "is held by mailer: cancel it first");
    refused(&nova, &["redrive", &held, &down], 1, &format!("{held} is not dead: it is leased"));
    assert_eq!(json(&nova, &["show", &down])["state"], "ready", "though the other one was not");
    let dead = ["redrive", "--queue", "mail", "--error"];
    assert_eq!(json(&nova, &[&dead[..], &["SMTP_DOWN"]].concat())["redriven"], 0);
    assert_eq!(json(&nova, &["redrive", "--queue", "mail"])["redriven"], 1);
    let again = worker.lease("mail");
    assert_eq!(again.attempt, 1, "its attempts count from none");
}

pub(crate) fn a_task_is_tried_as_it_was_said(store: &str) {
    let nova = mesh(store);
    let worker = Worker::of(&nova);
    let slowly = ["--max-attempts", "7", "--backoff", "2h", "--backoff-factor", "3", "--backoff-max", "3h"];
    let slow = enqueue(&nova, &[&["mail", "send", "--group", "gold"], &slowly[..]].concat());
    let (_, rest) = worker.fail("mail", "SMTP_DOWN", false);
    // Of two hours up to a fifth is taken off.
    assert!((5_000..=7_200).contains(&rest.as_secs()), "{rest:?}");
    let shown = json(&nova, &["show", &slow]);
    assert_eq!((&shown["state"], &shown["max_attempts"]), (&value!("waiting"), &value!(7)));
    assert_eq!(shown["group"], "gold");
    let retry = value!({
        "max_attempts": 7, "initial_backoff_seconds": 7200.0, "factor": 3.0, "max_backoff_seconds": 10800.0,
    });
    assert_eq!((&shown["retry"], &shown["attempt_timeout_seconds"]), (&retry, &value!(null)));
    enqueue(&nova, &["slow", "send", "--attempt-timeout", "1ms", "--max-attempts", "1"]);
    let timed_out = worker.lease("slow").task.expect("a lease is of a task").id;
    let ended = || (json(&nova, &["show", &timed_out])["state"] == "dead").then_some(());
    eventually("the attempt is ended", PATIENCE, ended);
    let shown = json(&nova, &["show", &timed_out]);
    assert_eq!(shown["last_error"]["reason"], "ATTEMPT_TIMEOUT");
    assert_eq!(shown["attempt_timeout_seconds"], 0.001);
    let told = nova.run(&["queue", "show", &timed_out]).ok();
    assert!(told.contains("1, and no other; each for at most 1ms"), "{told}");
}

pub(crate) fn a_task_starts_when_and_before_whom_it_was_said(store: &str) {
    let nova = mesh(store);
    let worker = Worker::of(&nova);
    let later = ["mail", "send", "--delay", "1h", "--deadline", "2h", "--request-id", "letter-7"];
    let delayed = enqueue(&nova, &later);
    assert_eq!(enqueue(&nova, &later), delayed, "the same request is the same task");
    refused(&nova, &["enqueue", "mail", "send", "--request-id", "letter-7"], 1, "letter-7");
    let shown = json(&nova, &["show", &delayed]);
    assert_eq!((&shown["state"], &shown["request_id"]), (&value!("waiting"), &value!("letter-7")));
    let time = |field: &str| {
        let told = shown[field].as_str().unwrap_or_else(|| panic!("no {field}: {shown}"));
        told.parse::<prost_types::Timestamp>().expect("a time").seconds
    };
    let after = |field: &str| time(field) - time("create_time");
    assert_eq!((after("ready_time"), after("deadline_time")), (3_600, 7_200));
    enqueue(&nova, &["mail", "send"]);
    let urgent = enqueue(&nova, &["mail", "send", "--priority", "9"]);
    let lease = worker.lease("mail");
    assert_eq!(lease.task.as_ref().expect("a lease is of a task").id, urgent);
    worker.report(&lease, 0.25, "a quarter", "page 3");
    let shown = json(&nova, &["show", &urgent]);
    assert_eq!(shown["progress"], value!({"fraction": 0.25, "note": "a quarter"}));
    let told = nova.run(&["queue", "show", &urgent]).ok();
    assert!(told.contains("25%") && told.contains("a quarter") && told.contains("page 3"), "{told}");
}

pub(crate) fn a_task_is_waited_for(store: &str) {
    let nova = mesh(store);
    let worker = Worker::of(&nova);
    let ended = |waiting: Child| Ran::of(&waiting.wait_with_output().expect("it ends"));
    let enqueue_and_wait = ["queue", "enqueue", "mail", "send", "--wait", "60s"];
    let waiting = nova.spawn(&[&["--json"], &enqueue_and_wait[..]].concat());
    worker.complete("mail", "posted");
    let task = ended(waiting).json();
    assert_eq!((&task["state"], &task["result"]), (&value!("completed"), &value!("posted")));
    let waiting = nova.spawn(&enqueue_and_wait);
    worker.fail("mail", "SMTP_DOWN", true);
    let Ran { code, stdout, stderr } = ended(waiting);
    assert!(code == 1 && stderr.contains("nova: the task is dead: SMTP_DOWN: no route"), "{code}: {stderr}");
    assert!(stdout.contains("dead"), "it is printed all the same: {stdout}");
    let idle = enqueue(&nova, &["idle", "send"]);
    refused(&nova, &["show", &idle, "--wait", "1ms"], 1, "the task has not ended within 1ms: it is ready");
    let waiting = nova.spawn(&["queue", "show", &idle, "--wait", "60s"]);
    nova.run(&["queue", "cancel", &idle]).ok();
    assert!(ended(waiting).stderr.contains("the task is cancelled"));
}

pub(crate) fn a_unique_key_is_free_again_in_time(store: &str) {
    let nova = mesh(store);
    let long = ["enqueue", "mail", "send", "--unique-key", "long", "--unique-for", "1h"];
    assert_eq!(json(&nova, &long)["duplicate"], false);
    assert_eq!(json(&nova, &long)["duplicate"], true);
    let short = ["enqueue", "mail", "send", "--unique-key", "short", "--unique-for", "1ms"];
    let fresh = || (json(&nova, &short)["duplicate"] == false).then_some(());
    fresh().expect("nobody has the key");
    eventually("the key is free", PATIENCE, fresh);
    let held = ["held", "send", "--unique-key", "held"];
    enqueue(&nova, &held);
    Worker::of(&nova).fail("held", "SMTP_DOWN", true);
    enqueue(&nova, &held);
    refused(
        &nova,
        &["redrive", "--queue", "held"],
        1,
        "1 task stays dead: a task that lives has the same unique key",
    );
}

pub(crate) fn a_task_waits_for_another(store: &str) {
    let nova = mesh(store);
    let first = enqueue(&nova, &["mail", "send"]);
    let second = enqueue(&nova, &["mail", "send", "--after", &first]);
    let stubborn = enqueue(&nova, &["mail", "send", "--after", &first, "--run-after-failure"]);
    assert_eq!(json(&nova, &["show", &second])["blocked_by"], 1);
    let shown = nova.run(&["queue", "show", &second]).ok();
    assert!(shown.contains("waits for   1 task that has not completed"), "{shown}");
    nova.run(&["queue", "cancel", &first]).ok();
    let is = |task: &str, state: &str| (json(&nova, &["show", task])["state"] == state).then_some(());
    eventually("its child goes with it", PATIENCE, || is(&second, "cancelled"));
    eventually("but not the one that runs all the same", PATIENCE, || is(&stubborn, "ready"));
}

#[test]
fn what_is_wrong_with_a_task_is_told_by_its_own_words() {
    let nova = mesh("sqlite");
    let long = format!("a={}", "x".repeat(257));
    refused(&nova, &["enqueue", "q", "k", "--metadata", &long], 2, "nova: metadata[\"a\"]: must be at most");
    refused(&nova, &["enqueue", "q", "k", "--backoff", "400d"], 2, "nova: initial backoff: 400d must be ");
}

/// `nova queue watch`, whose lines arrive here.
struct Watch {
    command: Child,
    lines: Receiver<String>,
}

impl Watch {
    fn start(nova: &Nova, args: &[&str]) -> Self {
        let mut command = nova.spawn(&[&["queue", "watch"], args].concat());
        let out = BufReader::new(command.stdout.take().expect("its output is piped"));
        let (send, lines) = mpsc::channel();
        // It ends with the command, whose output it reads.
        thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        Self { command, lines }
    }

    /// Presses Ctrl-C; gives the lines that had not been taken, and what was said to people.
    fn interrupt(mut self) -> (Vec<String>, String) {
        nova_testkit::send("INT", self.command.id());
        let mut told = String::new();
        let errors = self.command.stderr.as_mut().expect("its errors are piped");
        errors.read_to_string(&mut told).expect("they are text");
        assert!(self.command.wait().expect("it is our child").success(), "{told}");
        (self.lines.iter().collect(), told)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Where a test fails it may still run.
        self.command.kill().ok();
        self.command.wait().ok();
    }
}

pub(crate) fn a_watch_goes_on_from_its_cursor(store: &str) {
    let nova = mesh(store);
    let watch = Watch::start(&nova, &["--queue", "mail"]);
    // When the watch stands nobody knows but who sees it show something.
    let first = eventually("the watch shows a task", PATIENCE, || {
        enqueue(&nova, &["mail", "send"]);
        watch.lines.try_recv().ok()
    });
    let (more, told) = watch.interrupt();
    let cursor = told.split_once("--cursor ").and_then(|(_, rest)| rest.split_whitespace().next());
    let cursor = cursor.unwrap_or_else(|| panic!("no cursor in {told:?}"));
    let seen: Vec<String> = [vec![first], more].concat();

    enqueue(&nova, &["mail", "send", "--metadata", "team=sales"]);
    let later = enqueue(&nova, &["mail", "send", "--metadata", "team=post"]);
    let watch =
        Watch::start(&nova, &["--cursor", cursor, "--queue", "mail", "--metadata", "team=post", "--json"]);
    eventually("the later task is shown", PATIENCE, || {
        let line = watch.lines.recv_timeout(PATIENCE).expect("there is more to be shown");
        let event: Value = serde_json::from_str(&line).expect("a line is JSON");
        let id = event["task"]["id"].as_str().expect("an event is of a task");
        assert!(!seen.iter().any(|line| line.contains(id)), "{id} was shown before: {seen:#?}");
        assert_eq!(event["task"]["metadata"]["team"], "post", "nothing else was asked for");
        (id == later).then_some(())
    });
    let (_, told) = watch.interrupt();
    assert_eq!(told, "", "its lines have cursors");
}
