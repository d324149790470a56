//! How many whole task lives a second: enqueue, lease, complete, over gRPC in one process.
//!
//! `cargo run --release -p nova-queue --example lives -- [unary|batched] [sqlite|redis://…] [seconds]`

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use nova_proto::queue::v1::{self as pb, queue_service_client::QueueServiceClient};
use nova_queue::{Config, QueueDaemon};
use nova_runtime::testing::{AsCaller, TestServer};
use pb::{settlement::Outcome, work_request::Message as Say, work_response::Message as Hear};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{service::interceptor::InterceptedService, transport::Channel};

type Client = QueueServiceClient<InterceptedService<Channel, AsCaller>>;
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Callers of unary enqueues, on so many connections.
const CALLERS: usize = 128;
const CONNECTIONS: usize = 4;
/// Streams of workers, and the credit of each.
const WORKERS: usize = 2;
const CREDIT: u32 = 1_024;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a benchmark tells its figure")]
async fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let mode = args.next().unwrap_or_else(|| "unary".into());
    let store = args.next().unwrap_or_else(|| "sqlite".into());
    let seconds: u64 = args.next().map_or(Ok(5), |text| text.parse())?;
    let (batch, callers) = if mode == "batched" { (64, 8) } else { (1, CALLERS) };
    let folder = tempfile::tempdir_in("target")?;
    let server =
        TestServer::builder(folder.path()).store(&store).start::<QueueDaemon>(Config::default()).await;
    let server = server.map_err(|error| error.to_string())?;
    let done = Arc::new(AtomicU64::new(0));
    let clients: Vec<Client> = (0..CONNECTIONS).map(|_| QueueServiceClient::new(server.operator())).collect();
    let mut running = tokio::task::JoinSet::new();
    for worker in 0..WORKERS {
        running.spawn(work(clients[worker % CONNECTIONS].clone(), Arc::clone(&done)));
    }
    for caller in 0..callers {
        running.spawn(produce(clients[caller % CONNECTIONS].clone(), batch));
    }
    let mut running = run(running, Duration::from_secs(1)).await?;
    let (before, start) = (done.load(Ordering::Relaxed), Instant::now());
    running = run(running, Duration::from_secs(seconds)).await?;
    let lives = done.load(Ordering::Relaxed) - before;
    let rate = Duration::from_secs(lives).div_f64(start.elapsed().as_secs_f64()).as_secs();
    println!("{mode} {store}: {rate} lives/s");
    running.shutdown().await;
    Ok(())
}

type Running = tokio::task::JoinSet<Result<(), Failure>>;

/// Lets everybody work for a while; whoever ends has failed.
async fn run(mut running: Running, span: Duration) -> Result<Running, Failure> {
    if let Ok(Some(ended)) = tokio::time::timeout(span, running.join_next()).await {
        ended??;
    }
    Ok(running)
}

async fn produce(mut client: Client, batch: usize) -> Result<(), Failure> {
    let task = pb::NewTask {
        queue: "bench".into(),
        kind: "bench".into(),
        payload: vec![7; 256].into(),
        ..Default::default()
    };
    let tasks = vec![task; batch];
    loop {
        client.enqueue(pb::EnqueueRequest { tasks: tasks.clone(), ..Default::default() }).await?;
    }
}

async fn work(mut client: Client, done: Arc<AtomicU64>) -> Result<(), Failure> {
    let (say, said) = tokio::sync::mpsc::channel(64);
    let open = pb::WorkOpen {
        queues: vec!["bench".into()],
        worker: "w".into(),
        credit: CREDIT,
        ..Default::default()
    };
    say.send(pb::WorkRequest { message: Some(Say::Open(open)) }).await?;
    let mut hear = client.work(ReceiverStream::new(said)).await?.into_inner();
    while let Some(message) = hear.message().await? {
        match message.message {
            Some(Hear::Leases(leases)) => {
                let settlements: Vec<_> = leases.leases.into_iter().filter_map(completed).collect();
                let credit = u32::try_from(settlements.len())?;
                let settle = Say::Settle(pb::WorkSettle { settlements, credit });
                say.send(pb::WorkRequest { message: Some(settle) }).await?;
            }
            Some(Hear::Settled(settled)) => {
                done.fetch_add(settled.results.len() as u64, Ordering::Relaxed);
            }
            _ => {}
        }
    }
    Ok(())
}

fn completed(lease: pb::Lease) -> Option<pb::Settlement> {
    let reference = pb::LeaseRef { task_id: lease.task?.id, token: lease.token };
    Some(pb::Settlement { lease: Some(reference), outcome: Some(Outcome::Completed(Default::default())) })
}
