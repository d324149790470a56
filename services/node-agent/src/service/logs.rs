//! Logs of processes.

use nova_proto::node::v1 as pb;
use nova_rpc::Error;
use nova_types::{ProcessId, Violations, wire};

use super::streams::ResponseStream;
use super::{Service, render};
use crate::process::{Follower, Line};

const USUAL_TAIL: u32 = 100;
const LONGEST_TAIL: u32 = 10_000;
/// Lines that are taken from the log at a time.
const BATCH: usize = 256;

impl Service {
    pub(super) fn logs(
        &self,
        request: &pb::StreamLogsRequest,
    ) -> Result<ResponseStream<pb::StreamLogsResponse>, Error> {
        let mut violations = Violations::new();
        let id = violations.take(ProcessId::parse("process_id", &request.process_id));
        let tail = violations.take(wire::page_size("tail", request.tail, USUAL_TAIL, LONGEST_TAIL));
        let (Some(id), Some(tail)) = (id, tail) else { return Err(violations.into()) };
        let follower = self.supervisor.follow(&id, tail)?;
        let permit = self.streams.permit()?;
        if request.follow {
            return Ok(self.streams.open(permit, Vec::new(), follower, next_lines));
        }
        Ok(self.streams.open(permit, Vec::new(), (follower, tail), present_lines))
    }
}

async fn next_lines(mut follower: Follower) -> Option<(Vec<pb::StreamLogsResponse>, Follower)> {
    let lines = follower.next(BATCH).await?;
    Some((rendered(&lines), follower))
}

/// What is there, but no more than was asked for: a process may write faster than its log is read.
async fn present_lines(
    (mut follower, left): (Follower, usize),
) -> Option<(Vec<pb::StreamLogsResponse>, (Follower, usize))> {
    let lines = follower.read(left.min(BATCH));
    let left = left.saturating_sub(lines.len());
    (!lines.is_empty()).then(|| (rendered(&lines), (follower, left)))
}

fn rendered(lines: &[Line]) -> Vec<pb::StreamLogsResponse> {
    lines.iter().map(render::line).collect()
}
