//! Producers: as many puts under way as there are calls at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::connection::Connection;
use super::{CONNECTIONS, Progress};
use crate::job::PAYLOAD;

/// The puts of a job.
#[derive(Clone, Debug)]
pub(super) struct Puts {
    pub(super) connections: usize,
    /// Commands under way at once on a connection.
    group: usize,
    /// From one put to the next on a connection; none: as fast as they are answered.
    every: Option<Duration>,
    until: Option<Instant>,
    left: Arc<AtomicU64>,
}

impl Puts {
    /// For so many seconds.
    pub(super) fn within(callers: usize, batch: usize, per_second: Option<f64>, seconds: f64) -> Self {
        let until = Some(Instant::now() + Duration::from_secs_f64(seconds));
        let of = Self::of(callers, batch, u64::MAX);
        let every = per_second.map(|rate| Duration::from_secs_f64(of.connections as f64 / rate));
        Self { every, until, ..of }
    }

    /// So many tasks.
    pub(super) fn of(callers: usize, batch: usize, tasks: u64) -> Self {
        let connections = CONNECTIONS.min(callers);
        let left = Arc::new(AtomicU64::new(tasks));
        Self { connections, group: callers * batch / connections, every: None, until: None, left }
    }

    /// Commands under way over all connections.
    pub(super) fn under_way(&self) -> usize {
        self.connections * self.group
    }

    fn take(&self, wanted: usize) -> usize {
        let most = wanted as u64;
        let left = self.left.fetch_update(Relaxed, Relaxed, |left| Some(left.saturating_sub(most)));
        usize::try_from(left.unwrap_or_default().min(most)).unwrap_or(wanted)
    }

    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }
}

/// Puts until the time is over, or all tasks are; answers the microseconds of each put from when it was due.
pub(super) async fn put(
    mut connection: Connection,
    puts: Puts,
    number: usize,
    progress: Arc<Progress>,
) -> anyhow::Result<Vec<u32>> {
    let mut due = Due::new(&puts, number);
    let mut micros = Vec::new();
    while !puts.is_over() {
        let mut began = due.next(&puts).await;
        began.truncate(puts.take(began.len()));
        if began.is_empty() {
            break;
        }
        let commands: Vec<u8> = began.iter().flat_map(|began| command(&progress, *began)).collect();
        connection.say(&commands).await?;
        for began in &began {
            let answer = connection.line().await?;
            ensure!(answer.starts_with("INSERTED "), "put was answered {answer:?}");
            micros.push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
        progress.put.fetch_add(began.len() as u64, Relaxed);
    }
    Ok(micros)
}

/// A put whose body begins with when it was due.
fn command(progress: &Progress, began: Instant) -> Vec<u8> {
    let micros = began.saturating_duration_since(progress.origin).as_micros() as u64;
    let mut body = [b'x'; PAYLOAD];
    body[..8].copy_from_slice(&micros.to_le_bytes());
    [format!("put 0 0 60 {PAYLOAD}\r\n").as_bytes(), &body, b"\r\n"].concat()
}

/// When a connection's puts are due.
struct Due {
    next: Instant,
}

impl Due {
    fn new(puts: &Puts, number: usize) -> Self {
        let share = number as f64 / puts.connections as f64;
        Self { next: Instant::now() + puts.every.unwrap_or_default().mul_f64(share) }
    }

    /// All that are due by now, up to a group; waits for the first.
    async fn next(&mut self, puts: &Puts) -> Vec<Instant> {
        let Some(every) = puts.every else { return vec![Instant::now(); puts.group] };
        tokio::time::sleep_until(self.next.into()).await;
        let now = Instant::now();
        let mut due = Vec::new();
        while self.next <= now && due.len() < puts.group {
            due.push(self.next);
            self.next += every;
        }
        due
    }
}
