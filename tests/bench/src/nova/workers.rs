//! A worker that completes whatever it is given.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use nova_proto::queue::v1 as pb;
use pb::{settlement::Outcome, work_request::Message as Say, work_response::Message as Hear};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::Client;
use super::tally::Tally;

/// Messages on their way to the queue.
const SAID: usize = 64;

/// What one worker may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    credit: u64,
    /// Tasks that it will still ask for; none: without end.
    left: Option<u64>,
}

impl Share {
    /// `credit` at once, and no more than `tasks` in all.
    pub(super) fn new(credit: u64, tasks: Option<u64>) -> Self {
        Self { credit, left: tasks }
    }

    /// How much of `wanted` it asks for.
    fn ask(&mut self, wanted: u64) -> anyhow::Result<u32> {
        let asked = self.left.map_or(wanted, |left| left.min(wanted));
        self.left = self.left.map(|left| left - asked);
        Ok(u32::try_from(asked)?)
    }
}

/// Works until it is stopped.
pub(super) async fn work(mut client: Client, tally: Arc<Tally>, mut share: Share) -> anyhow::Result<()> {
    let (say, said) = mpsc::channel(SAID);
    let open = pb::WorkOpen {
        queues: vec![tally.queue.to_owned()],
        worker: "bench".to_owned(),
        credit: share.ask(share.credit)?,
        ..Default::default()
    };
    tell(&say, Say::Open(open)).await?;
    let mut hear = client.work(ReceiverStream::new(said)).await?.into_inner();
    while let Some(message) = hear.message().await? {
        match message.message {
            Some(Hear::Leases(leases)) => {
                let settlements = complete(leases.leases, &tally)?;
                let credit = share.ask(settlements.len() as u64)?;
                tell(&say, Say::Settle(pb::WorkSettle { settlements, credit })).await?;
            }
            Some(Hear::Settled(settled)) => count(&settled.results, &tally)?,
            _ => {}
        }
    }
    Ok(())
}

async fn tell(say: &mpsc::Sender<pb::WorkRequest>, message: Say) -> anyhow::Result<()> {
    say.send(pb::WorkRequest { message: Some(message) }).await.context("the queue has left the stream")
}

fn complete(leases: Vec<pb::Lease>, tally: &Tally) -> anyhow::Result<Vec<pb::Settlement>> {
    let now = tally.micros_of(Instant::now());
    let mut settlements = Vec::with_capacity(leases.len());
    let mut waits = Vec::with_capacity(leases.len());
    for lease in leases {
        let task = lease.task.context("a lease carries its task")?;
        let began = task.payload.first_chunk::<8>().context("the payload comes back")?;
        waits.push(u32::try_from(now.saturating_sub(u64::from_le_bytes(*began))).unwrap_or(u32::MAX));
        settlements.push(pb::Settlement {
            lease: Some(pb::LeaseRef { task_id: task.id, token: lease.token }),
            outcome: Some(Outcome::Completed(Default::default())),
        });
    }
    tally.started(waits.into_iter());
    Ok(settlements)
}

/// Counts completions.
fn count(results: &[pb::SettlementResult], tally: &Tally) -> anyhow::Result<()> {
    let done = |result: &pb::SettlementResult| !result.lost && result.state() == pb::TaskState::Completed;
    ensure!(results.iter().all(done), "a settlement was refused");
    tally.complete(results.iter().map(|result| result.task_id.as_str()));
    Ok(())
}
