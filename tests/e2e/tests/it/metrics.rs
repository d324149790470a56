//! The queue's page of metrics, read as Prometheus reads it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use nova_proto::queue::v1::{
    CompleteRequest, EnqueueRequest, FailRequest, Lease, LeaseRef, LeaseRequest, NewTask, TaskError,
};
use nova_testkit::{Nova, eventually};

/// Longest that a test waits for what must come; the daemon looks at its queues every ten seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// Lines that the page must have once one of three tasks has completed, one is dead and one waits for a worker: name,
/// what is among its labels, and value.
const EXPECTED: [(&str, &str, &str); 18] = [
    ("nova_queue_depth", r#"nova_queue_state="ready""#, "1"),
    ("nova_queue_depth", r#"nova_queue_state="leased""#, "0"),
    ("nova_queue_depth", r#"nova_queue_state="completed""#, "1"),
    ("nova_queue_depth", r#"nova_queue_state="dead""#, "1"),
    ("messaging_client_sent_messages_total", r#"messaging_operation_name="send""#, "3"),
    ("messaging_client_consumed_messages_total", r#"messaging_operation_name="receive""#, "2"),
    ("nova_queue_attempts_total", r#"nova_queue_outcome="completed""#, "1"),
    ("nova_queue_attempts_total", r#"nova_queue_outcome="failed""#, "1"),
    ("nova_queue_attempts_total", r#"nova_queue_outcome="expired""#, "0"),
    ("nova_queue_ended_messages_total", r#"nova_queue_state="completed""#, "1"),
    ("nova_queue_ended_messages_total", r#"nova_queue_state="dead""#, "1"),
    ("nova_queue_ended_messages_total", r#"nova_queue_state="cancelled""#, "0"),
    ("nova_queue_wait_duration_seconds_bucket", r#"le="+Inf""#, "2"),
    ("nova_queue_wait_duration_seconds_bucket", r#"le="3600""#, "2"),
    ("nova_queue_wait_duration_seconds_count", "", "2"),
    ("nova_queue_run_duration_seconds_bucket", r#"le="+Inf""#, "1"),
    ("nova_queue_run_duration_seconds_bucket", r#"le="3600""#, "1"),
    ("nova_queue_run_duration_seconds_count", "", "1"),
];

#[tokio::test]
async fn a_queue_tells_its_depth_its_counts_and_how_long_waits_and_runs_took() {
    let nova = Nova::new();
    nova.run(&["up"]).ok();
    live(&nova).await;
    eventually("the page tells of the queue", PATIENCE, || {
        let page = scrape(&nova, "queue");
        EXPECTED.iter().all(|(name, label, value)| has(&page, name, label, value)).then_some(())
    });
    let page = scrape(&nova, "queue");
    for name in ["nova_queue_wait_duration_seconds", "nova_queue_run_duration_seconds"] {
        assert!(page.contains(&format!("# TYPE {name} histogram\n")), "{page}");
    }
}

/// Enqueues three tasks; one completes and one dies.
async fn live(nova: &Nova) {
    let token = nova.run(&["identity", "token", "worker/w", "--role", "worker"]).ok();
    let mut queue = nova.bearer(Some(token.trim().to_owned()), nova.endpoints()).queue();
    let task = NewTask { queue: "mail".into(), kind: "send".into(), ..NewTask::default() };
    let request = EnqueueRequest { tasks: vec![task; 3], ..EnqueueRequest::default() };
    queue.enqueue(request).await.expect("tasks are stored");
    let request = LeaseRequest {
        queues: vec!["mail".into()],
        worker: "w".into(),
        max_tasks: 2,
        ..LeaseRequest::default()
    };
    let leases = queue.lease(request).await.expect("leases are given").into_inner().leases;
    let [good, bad] = &leases[..] else { panic!("two are leased: {leases:?}") };
    let request = CompleteRequest { lease: refer(good), ..CompleteRequest::default() };
    queue.complete(request).await.expect("a task completes");
    let error = Some(TaskError { reason: "BROKEN".into(), message: String::new() });
    let request = FailRequest { lease: refer(bad), error, permanent: true, ..FailRequest::default() };
    queue.fail(request).await.expect("a task fails");
}

fn refer(lease: &Lease) -> Option<LeaseRef> {
    let task_id = lease.task.as_ref().expect("a lease has its task").id.clone();
    Some(LeaseRef { task_id, token: lease.token })
}

/// Whether the queue `mail` has this value.
fn has(page: &str, name: &str, label: &str, value: &str) -> bool {
    let (name, value) = (format!("{name}{{"), format!("}} {value}"));
    page.lines().any(|line| {
        let of_mail = line.contains(r#"messaging_destination_name="mail""#);
        of_mail && line.starts_with(&name) && line.contains(label) && line.ends_with(&value)
    })
}

/// A daemon's page.
pub(crate) fn scrape(nova: &Nova, daemon: &str) -> String {
    let file = nova.mesh_file().expect("a mesh runs");
    let address = file["http"][daemon].as_str().expect("every daemon has a page");
    let mut stream = TcpStream::connect(address).expect("the page is served");
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("a request is sent");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("the page is text");
    page
}
