//! Callers that enqueue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use nova_proto::queue::v1 as pb;
use tokio::task::JoinSet;

use super::tally::Tally;
use super::{Client, Load, PAYLOAD, Pace};

/// Enqueues for `span` with all callers; answers the microseconds of each call.
pub(super) async fn produce(
    clients: &[Client],
    load: &Load,
    tally: &Arc<Tally>,
    span: Duration,
) -> anyhow::Result<Vec<u32>> {
    let until = Instant::now() + span;
    let mut callers = JoinSet::new();
    for number in 0..load.callers {
        let client = clients[number % clients.len()].clone();
        let turns = Turns::new(load, number);
        callers.spawn(call(client, load.batch, turns, Arc::clone(tally), until));
    }
    let mut micros = Vec::new();
    while let Some(ended) = callers.join_next().await {
        micros.extend(ended??);
    }
    Ok(micros)
}

async fn call(
    mut client: Client,
    batch: usize,
    mut turns: Turns,
    tally: Arc<Tally>,
    until: Instant,
) -> anyhow::Result<Vec<u32>> {
    let mut micros = Vec::new();
    loop {
        let began = turns.next().await;
        if began >= until {
            return Ok(micros);
        }
        let request = request(&tally, batch, began);
        let response = client.enqueue(request).await?.into_inner();
        micros.push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
        ensure!(response.tasks.len() == batch, "{} receipts of {batch}", response.tasks.len());
        tally.enqueued(response.tasks.iter().map(|task| task.id.as_str()));
    }
}

/// Tasks that carry when they were enqueued.
fn request(tally: &Tally, batch: usize, began: Instant) -> pb::EnqueueRequest {
    let mut payload = vec![7; PAYLOAD];
    payload[..8].copy_from_slice(&tally.micros_of(began).to_le_bytes());
    let task = pb::NewTask {
        queue: tally.queue.clone(),
        kind: "bench".to_owned(),
        payload: payload.into(),
        ..Default::default()
    };
    pb::EnqueueRequest { tasks: vec![task; batch], ..Default::default() }
}

/// When a caller makes its calls.
struct Turns {
    next: Instant,
    every: Option<Duration>,
}

impl Turns {
    fn new(load: &Load, number: usize) -> Self {
        let now = Instant::now();
        match load.pace {
            Pace::Full => Self { next: now, every: None },
            Pace::PerSecond(rate) => {
                let every = Duration::from_secs_f64(load.callers as f64 / rate);
                let share = number as f64 / load.callers as f64;
                Self { next: now + every.mul_f64(share), every: Some(every) }
            }
        }
    }

    /// When the next call begins. One that is late, since the call before took long, began when it was due:
    /// else a slow queue would be asked less, and look fast.
    async fn next(&mut self) -> Instant {
        let Some(every) = self.every else { return Instant::now() };
        let due = self.next;
        self.next += every;
        if Instant::now() >= due {
            return due;
        }
        tokio::time::sleep_until(due.into()).await;
        Instant::now()
    }
}
