//! `NodeService` on the wire: parse, call, map.

mod logs;
mod node;
mod parse;
mod processes;
mod render;
mod streams;

use std::sync::Arc;

use nova_proto::node::v1 as pb;
use nova_proto::node::v1::node_service_server::{NodeService, NodeServiceServer};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use self::streams::{ResponseStream, Streams};
use crate::config::Config;
use crate::process::Supervisor;
use crate::telemetry::Sampler;

/// What the calls need.
#[derive(Clone, Debug)]
struct Service {
    node_id: String,
    supervisor: Supervisor,
    sampler: Arc<Sampler>,
    streams: Streams,
}

/// The service's routes.
pub(crate) fn routes(
    config: Config,
    supervisor: Supervisor,
    sampler: Arc<Sampler>,
    shutdown: CancellationToken,
) -> Routes {
    let streams = Streams::new(config.max_streams, shutdown);
    let service = Service { node_id: config.node_id, supervisor, sampler, streams };
    Routes::new(NodeServiceServer::new(service))
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl NodeService for Service {
    type StreamTelemetryStream = ResponseStream<pb::StreamTelemetryResponse>;
    type WatchProcessesStream = ResponseStream<pb::WatchProcessesResponse>;
    type StreamLogsStream = ResponseStream<pb::StreamLogsResponse>;

    async fn get_node(&self, _request: Request<pb::GetNodeRequest>) -> Answer<pb::GetNodeResponse> {
        answer(self.node().await)
    }

    async fn get_telemetry(
        &self,
        _request: Request<pb::GetTelemetryRequest>,
    ) -> Answer<pb::GetTelemetryResponse> {
        answer(Ok(self.telemetry().await))
    }

    async fn stream_telemetry(
        &self,
        request: Request<pb::StreamTelemetryRequest>,
    ) -> Answer<Self::StreamTelemetryStream> {
        answer(self.telemetry_stream(&request.into_inner()))
    }

    async fn start_process(
        &self,
        request: Request<pb::StartProcessRequest>,
    ) -> Answer<pb::StartProcessResponse> {
        answer(self.start(request.into_inner()).await)
    }

    async fn stop_process(
        &self,
        request: Request<pb::StopProcessRequest>,
    ) -> Answer<pb::StopProcessResponse> {
        answer(self.stop(&request.into_inner()).await)
    }

    async fn get_process(&self, request: Request<pb::GetProcessRequest>) -> Answer<pb::GetProcessResponse> {
        answer(self.get(&request.into_inner()))
    }

    async fn list_processes(
        &self,
        request: Request<pb::ListProcessesRequest>,
    ) -> Answer<pb::ListProcessesResponse> {
        answer(self.list(request.into_inner()))
    }

    async fn watch_processes(
        &self,
        request: Request<pb::WatchProcessesRequest>,
    ) -> Answer<Self::WatchProcessesStream> {
        answer(self.watch(request.into_inner()))
    }

    async fn stream_logs(&self, request: Request<pb::StreamLogsRequest>) -> Answer<Self::StreamLogsStream> {
        answer(self.logs(&request.into_inner()))
    }
}

fn answer<T>(result: Result<T, nova_rpc::Error>) -> Answer<T> {
    result.map(Response::new).map_err(Status::from)
}
