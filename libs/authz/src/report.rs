//! Hands decisions to the record: in batches, again until they are taken.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use nova_client::{Backoff, Mesh};
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::{Batch, PolicyPoint};

/// Decisions in one report.
pub const LARGEST_BATCH: usize = 1_000;
/// Decisions of so long go into one report; a denial goes at once, for somebody will ask about it.
const GATHERED: Duration = Duration::from_millis(100);
/// How long the last report may take when the daemon stops.
const LAST_REPORT: Duration = Duration::from_secs(1);

/// Why a batch was not recorded.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ReportError {
    /// Whether the same batch can be taken later.
    pub retryable: bool,
    /// What went wrong.
    pub message: String,
}

/// Where decisions are recorded. The same batch may come again; it is recorded once.
#[async_trait]
pub trait DecisionSink: Send + Sync + Debug {
    /// Records a batch.
    async fn record(&self, batch: &Batch) -> Result<(), ReportError>;
}

#[async_trait]
impl DecisionSink for Mesh {
    async fn record(&self, batch: &Batch) -> Result<(), ReportError> {
        let request = nova_proto::policy::v1::ReportDecisionsRequest::from(batch);
        match nova_rpc::trace::unrecorded(self.policy().report_decisions(request)).await {
            Ok(_) => Ok(()),
            Err(status) => Err(ReportError {
                retryable: !matches!(status.code(), Code::InvalidArgument | Code::Unimplemented),
                message: format!("{:?}: {}", status.code(), status.message()),
            }),
        }
    }
}

impl PolicyPoint {
    /// Reports until `shutdown`, then once more what is left.
    pub async fn run_report(self, sink: impl DecisionSink, shutdown: CancellationToken) {
        let cancelled = shutdown.cancelled();
        let stopped = tokio::select! {
            () = self.report_on(&sink) => false,
            () = cancelled => true,
        };
        if stopped && tokio::time::timeout(LAST_REPORT, self.report_rest(&sink)).await.is_err() {
            tracing::warn!("the last decisions could not be reported in time");
        }
    }

    async fn report_on(&self, sink: &impl DecisionSink) {
        loop {
            self.ring().filled().await;
            tokio::select! {
                () = tokio::time::sleep(GATHERED) => {}
                () = self.ring().denied() => {}
            }
            // What comes while a report is under way is gathered for the next one.
            while self.report_some(sink).await == LARGEST_BATCH {}
        }
    }

    async fn report_rest(&self, sink: &impl DecisionSink) {
        while self.report_some(sink).await > 0 {}
    }

    /// Delivers one report, if there is anything to tell; gives its number of decisions.
    async fn report_some(&self, sink: &impl DecisionSink) -> usize {
        let mut held = Held { point: self, batch: self.ring().take(LARGEST_BATCH) };
        let decisions = held.batch.decisions.len();
        if decisions > 0 {
            self.deliver(sink, &held.batch).await;
            held.batch = Batch::default();
        }
        decisions
    }

    async fn deliver(&self, sink: &impl DecisionSink, batch: &Batch) {
        let mut backoff = Backoff::default();
        while let Err(error) = sink.record(batch).await {
            if !error.retryable {
                let lost = batch.decisions.len() as u64;
                tracing::error!(%error, lost, "decisions are refused by the record");
                return self.ring().add_dropped(lost);
            }
            tracing::debug!(%error, decisions = batch.decisions.len(), "decisions wait to be recorded");
            tokio::time::sleep(backoff.next_wait()).await;
        }
    }
}

/// A batch on its way: what is dropped in mid-delivery goes back, to be reported again.
struct Held<'a> {
    point: &'a PolicyPoint,
    batch: Batch,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if !self.batch.is_empty() {
            self.point.ring().give_back(std::mem::take(&mut self.batch));
        }
    }
}
