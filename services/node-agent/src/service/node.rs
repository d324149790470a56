//! What the host has and how it does.

use std::sync::Arc;
use std::time::Duration;

use nova_proto::node::v1 as pb;
use nova_rpc::Error;
use nova_types::wire;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::streams::ResponseStream;
use super::{Service, render};
use crate::telemetry::{Sample, Sampler};

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(3_600);
const USUAL: Duration = Duration::from_secs(1);

/// A stream of samples.
struct Pace {
    sampler: Arc<Sampler>,
    ticks: Interval,
    before: Sample,
}

impl Service {
    pub(super) async fn node(&self) -> Result<pb::GetNodeResponse, Error> {
        let node = self.sampler.node().await;
        let node = node.ok_or_else(|| Error::unavailable("host", "does not say in time what it has"))?;
        let sample = self.sampler.sample(&self.sampler.latest()).await;
        let mut capabilities = self.sampler.capabilities().await;
        capabilities.insert("limits".to_owned(), "rlimit".to_owned());
        let mut node = render::node(node, &sample, capabilities);
        if !self.node_id.is_empty() {
            node.id.clone_from(&self.node_id);
        }
        Ok(pb::GetNodeResponse { node: Some(node) })
    }

    pub(super) async fn telemetry(&self) -> pb::GetTelemetryResponse {
        let sample = self.sampler.sample(&self.sampler.latest()).await;
        pb::GetTelemetryResponse { telemetry: Some(render::telemetry(&sample)) }
    }

    pub(super) fn telemetry_stream(
        &self,
        request: &pb::StreamTelemetryRequest,
    ) -> Result<ResponseStream<pb::StreamTelemetryResponse>, Error> {
        let pace = wire::duration("interval", request.interval.as_ref(), SHORTEST..=LONGEST, USUAL)?;
        let permit = self.streams.permit()?;
        let mut ticks = interval(pace);
        // A reader that was slow gets the next sample, not those that it missed.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let pace = Pace { sampler: Arc::clone(&self.sampler), ticks, before: self.sampler.latest() };
        Ok(self.streams.open(permit, Vec::new(), pace, next_sample))
    }
}

async fn next_sample(mut pace: Pace) -> Option<(Vec<pb::StreamTelemetryResponse>, Pace)> {
    pace.ticks.tick().await;
    pace.before = pace.sampler.sample(&pace.before).await;
    let telemetry = Some(render::telemetry(&pace.before));
    Some((vec![pb::StreamTelemetryResponse { telemetry }], pace))
}
