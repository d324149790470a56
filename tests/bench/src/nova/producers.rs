//! Callers that enqueue.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::ensure;
use nova_proto::queue::v1 as pb;
use tokio::task::JoinSet;

use super::Client;
use super::tally::Tally;
use crate::job::PAYLOAD;

/// The calls of a job.
#[derive(Clone, Debug)]
pub(super) struct Calls {
    callers: usize,
    batch: usize,
    per_second: Option<f64>,
    span: Option<Duration>,
    /// Tasks that are left to be enqueued.
    left: Arc<AtomicU64>,
}

impl Calls {
    /// For so many seconds.
    pub(super) fn within(callers: usize, batch: usize, per_second: Option<f64>, seconds: f64) -> Self {
        let span = Some(Duration::from_secs_f64(seconds));
        Self { callers, batch, per_second, span, left: Arc::new(AtomicU64::new(u64::MAX)) }
    }

    /// So many tasks.
    pub(super) fn of(callers: usize, batch: usize, tasks: u64) -> Self {
        Self { callers, batch, per_second: None, span: None, left: Arc::new(AtomicU64::new(tasks)) }
    }

    /// Makes them all; answers the microseconds of each.
    pub(super) async fn run(self, clients: &[Client], tally: &Arc<Tally>) -> anyhow::Result<Vec<u32>> {
        let until = self.span.map(|span| Instant::now() + span);
        let mut callers = JoinSet::new();
        for number in 0..self.callers {
            let client = clients[number % clients.len()].clone();
            let turns = Turns::new(&self, number);
            callers.spawn(call(client, self.clone(), turns, Arc::clone(tally), until));
        }
        let mut micros = Vec::new();
        while let Some(ended) = callers.join_next().await {
            micros.extend(ended??);
        }
        Ok(micros)
    }

    /// Ends them when it is called: no further call begins.
    pub(super) fn stop(&self) -> impl FnOnce() + use<> {
        let left = Arc::clone(&self.left);
        move || left.store(0, Relaxed)
    }

    /// How many tasks the next call has; none when all are enqueued.
    fn take(&self) -> Option<usize> {
        let most = self.batch as u64;
        let left = self.left.fetch_update(Relaxed, Relaxed, |left| Some(left.saturating_sub(most))).ok()?;
        usize::try_from(left.min(most)).ok().filter(|taken| *taken > 0)
    }
}

async fn call(
    mut client: Client,
    calls: Calls,
    mut turns: Turns,
    tally: Arc<Tally>,
    until: Option<Instant>,
) -> anyhow::Result<Vec<u32>> {
    let mut micros = Vec::new();
    loop {
        let began = turns.next().await;
        if until.is_some_and(|until| began >= until) {
            return Ok(micros);
        }
        let Some(batch) = calls.take() else { return Ok(micros) };
        let response = client.enqueue(request(&tally, batch, began)).await?.into_inner();
        micros.push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
        ensure!(response.tasks.len() == batch, "{} receipts of {batch}", response.tasks.len());
        tally.enqueue(response.tasks.iter().map(|task| task.id.as_str()));
    }
}

/// Tasks that carry when they were enqueued.
pub(super) fn request(tally: &Tally, batch: usize, began: Instant) -> pb::EnqueueRequest {
    let mut payload = vec![7; PAYLOAD];
    payload[..8].copy_from_slice(&tally.micros_of(began).to_le_bytes());
    let task = pb::NewTask {
        queue: tally.queue.to_owned(),
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
    fn new(calls: &Calls, number: usize) -> Self {
        let now = Instant::now();
        let Some(rate) = calls.per_second else { return Self { next: now, every: None } };
        let every = Duration::from_secs_f64(calls.callers as f64 / rate);
        let share = number as f64 / calls.callers as f64;
        Self { next: now + every.mul_f64(share), every: Some(every) }
    }

    /// When the next call begins. One that is late, since the call before took long, began when it was due.
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
