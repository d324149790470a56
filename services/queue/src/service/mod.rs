//! The contract `nova.queue.v1`, RPC by RPC: parse, call the store, map.

mod control;
mod forward;
mod lists;
mod outgoing;
mod parse;
mod proof;
mod queues;
mod reserved;
mod schedules;
mod settings;
mod shed;
mod terms;
mod unary;
mod watch;
mod wire;
mod work;
mod workers;

use std::{sync::Arc, time::Duration};

use nova_proto::queue::v1 as pb;
use nova_runtime::Runtime;
use tonic::{Request, Response, Status, Streaming};

pub(crate) use self::{
    forward::{Forward, Leadership},
    shed::Shed,
};
use self::{
    outgoing::{Outgoing, Streams},
    workers::Workers,
};
use crate::{config::Config, intake::Intake, store::Store};

type Answer<T> = Result<Response<T>, Status>;

/// Serves the contract over any store.
#[derive(Debug, Clone)]
pub(crate) struct QueueService {
    store: Store,
    runtime: Runtime,
    workers: Arc<Workers>,
    streams: Streams,
    /// Longest that an ended task may be kept.
    longest_kept: Duration,
}

impl QueueService {
    /// A service over `store`.
    pub(crate) fn new(store: Store, runtime: Runtime, config: &Config) -> Self {
        let workers = Arc::new(Workers::new(runtime.clock()));
        let (streams, longest_kept) = (Streams::new(config.max_streams), config.longest_kept());
        Self { store, runtime, workers, streams, longest_kept }
    }
}

#[tonic::async_trait]
impl pb::queue_service_server::QueueService for QueueService {
    async fn enqueue(&self, request: Request<pb::EnqueueRequest>) -> Answer<pb::EnqueueResponse> {
        let (caller, lease) = (nova_rpc::caller(&request), nova_rpc::lease(&request));
        unary::enqueue(self, &caller, lease.as_deref(), request.into_inner()).await.map(Response::new)
    }

    async fn lease(&self, request: Request<pb::LeaseRequest>) -> Answer<pb::LeaseResponse> {
        unary::lease(self, &nova_rpc::caller(&request), request.into_inner()).await.map(Response::new)
    }

    async fn heartbeat(&self, request: Request<pb::HeartbeatRequest>) -> Answer<pb::HeartbeatResponse> {
        unary::heartbeat(self, &nova_rpc::caller(&request), request.into_inner()).await.map(Response::new)
    }

    async fn complete(&self, request: Request<pb::CompleteRequest>) -> Answer<pb::CompleteResponse> {
        unary::complete(self, &nova_rpc::caller(&request), request.into_inner()).await.map(Response::new)
    }

    async fn fail(&self, request: Request<pb::FailRequest>) -> Answer<pb::FailResponse> {
        unary::fail(self, &nova_rpc::caller(&request), request.into_inner()).await.map(Response::new)
    }

    async fn release(&self, request: Request<pb::ReleaseRequest>) -> Answer<pb::ReleaseResponse> {
        unary::release(self, &nova_rpc::caller(&request), request.into_inner()).await.map(Response::new)
    }

    async fn prove_leases(
        &self,
        request: Request<pb::ProveLeasesRequest>,
    ) -> Answer<pb::ProveLeasesResponse> {
        proof::prove(self, &nova_rpc::caller(&request), request.into_inner()).await.map(Response::new)
    }

    async fn get_task(&self, request: Request<pb::GetTaskRequest>) -> Answer<pb::GetTaskResponse> {
        lists::get_task(self, request.into_inner()).await.map(Response::new)
    }

    async fn list_tasks(&self, request: Request<pb::ListTasksRequest>) -> Answer<pb::ListTasksResponse> {
        lists::list_tasks(self, request.into_inner()).await.map(Response::new)
    }

    async fn list_queues(&self, request: Request<pb::ListQueuesRequest>) -> Answer<pb::ListQueuesResponse> {
        lists::list_queues(self, request.into_inner()).await.map(Response::new)
    }

    async fn cancel_tasks(
        &self,
        request: Request<pb::CancelTasksRequest>,
    ) -> Answer<pb::CancelTasksResponse> {
        control::cancel(self, request.into_inner()).await.map(Response::new)
    }

    async fn redrive_tasks(
        &self,
        request: Request<pb::RedriveTasksRequest>,
    ) -> Answer<pb::RedriveTasksResponse> {
        control::redrive(self, &nova_rpc::caller(&request), request.into_inner()).await.map(Response::new)
    }

    async fn purge_tasks(&self, request: Request<pb::PurgeTasksRequest>) -> Answer<pb::PurgeTasksResponse> {
        control::purge(self, request.into_inner()).await.map(Response::new)
    }

    async fn get_queue(&self, request: Request<pb::GetQueueRequest>) -> Answer<pb::GetQueueResponse> {
        queues::get(self, request.into_inner()).await.map(Response::new)
    }

    async fn update_queue(
        &self,
        request: Request<pb::UpdateQueueRequest>,
    ) -> Answer<pb::UpdateQueueResponse> {
        queues::update(self, request.into_inner()).await.map(Response::new)
    }

    async fn pause_queue(&self, request: Request<pb::PauseQueueRequest>) -> Answer<pb::PauseQueueResponse> {
        let pb::PauseQueueRequest { namespace, queue } = request.into_inner();
        let queue = Some(queues::let_through(self, &namespace, &queue, Intake::paused).await?);
        Ok(Response::new(pb::PauseQueueResponse { queue }))
    }

    async fn drain_queue(&self, request: Request<pb::DrainQueueRequest>) -> Answer<pb::DrainQueueResponse> {
        let pb::DrainQueueRequest { namespace, queue } = request.into_inner();
        let queue = Some(queues::let_through(self, &namespace, &queue, Intake::draining).await?);
        Ok(Response::new(pb::DrainQueueResponse { queue }))
    }

    async fn resume_queue(
        &self,
        request: Request<pb::ResumeQueueRequest>,
    ) -> Answer<pb::ResumeQueueResponse> {
        let pb::ResumeQueueRequest { namespace, queue } = request.into_inner();
        let queue = Some(queues::let_through(self, &namespace, &queue, |_| Intake::Open).await?);
        Ok(Response::new(pb::ResumeQueueResponse { queue }))
    }

    async fn delete_queue(
        &self,
        request: Request<pb::DeleteQueueRequest>,
    ) -> Answer<pb::DeleteQueueResponse> {
        queues::delete(self, request.into_inner()).await.map(Response::new)
    }

    async fn put_schedule(
        &self,
        request: Request<pb::PutScheduleRequest>,
    ) -> Answer<pb::PutScheduleResponse> {
        schedules::put(self, &nova_rpc::caller(&request), request.into_inner()).await.map(Response::new)
    }

    async fn get_schedule(
        &self,
        request: Request<pb::GetScheduleRequest>,
    ) -> Answer<pb::GetScheduleResponse> {
        schedules::get(self, request.into_inner()).await.map(Response::new)
    }

    async fn list_schedules(
        &self,
        request: Request<pb::ListSchedulesRequest>,
    ) -> Answer<pb::ListSchedulesResponse> {
        schedules::list(self, request.into_inner()).await.map(Response::new)
    }

    async fn delete_schedule(
        &self,
        request: Request<pb::DeleteScheduleRequest>,
    ) -> Answer<pb::DeleteScheduleResponse> {
        schedules::delete(self, request.into_inner()).await.map(Response::new)
    }

    async fn list_workers(
        &self,
        request: Request<pb::ListWorkersRequest>,
    ) -> Answer<pb::ListWorkersResponse> {
        workers::list(self, request.into_inner()).await.map(Response::new)
    }

    type WatchTasksStream = Outgoing<pb::WatchTasksResponse>;

    async fn watch_tasks(&self, request: Request<pb::WatchTasksRequest>) -> Answer<Self::WatchTasksStream> {
        watch::watch_tasks(self, request.into_inner()).await.map(Response::new)
    }

    type WorkStream = Outgoing<pb::WorkResponse>;

    async fn work(&self, request: Request<Streaming<pb::WorkRequest>>) -> Answer<Self::WorkStream> {
        let caller = nova_rpc::caller(&request);
        Ok(Response::new(work::work(self, caller, request.into_inner())?))
    }
}
