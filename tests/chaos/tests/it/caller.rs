//! One client: it asks any daemon that it knows, and writes down what it is told.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use nova_chaos::{
    history::{Answer, Call, Grant, Hold, Job, Outcome},
    recorder::Recorder,
    seed::Seed,
};
use nova_proto::queue::v1::{self as pb, queue_service_client::QueueServiceClient};
use tonic::{
    Code, Request, Response, Status,
    metadata::MetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use crate::words;

/// How long a caller waits for an answer.
pub(crate) const PATIENCE: Duration = Duration::from_millis(1_500);

/// Length of every lease, microseconds.
pub(crate) const LEASE: i64 = 2_000_000;

/// The one schedule.
const SCHEDULE: &str = "s";

pub(crate) type Client = QueueServiceClient<InterceptedService<Channel, AsOperator>>;

/// Says that an operator calls.
#[derive(Debug, Clone)]
pub(crate) struct AsOperator;

impl Interceptor for AsOperator {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let caller = MetadataValue::from_static("spiffe://nova.local/user/operator");
        request.metadata_mut().insert("x-test-caller", caller);
        request.metadata_mut().insert("x-test-roles", MetadataValue::from_static("operator"));
        Ok(request)
    }
}

/// A client of the daemon at `address`.
pub(crate) fn client(address: &str) -> Client {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    QueueServiceClient::with_interceptor(endpoint.connect_lazy(), AsOperator)
}

/// Addresses of the daemons, which change as they start again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Targets(Arc<Mutex<Vec<String>>>);

impl Targets {
    pub(crate) fn set(&self, addresses: impl IntoIterator<Item = String>) {
        *self.0.lock().unwrap() = addresses.into_iter().collect();
    }

    /// Any daemon.
    pub(crate) fn first(&self) -> String {
        self.0.lock().unwrap()[0].clone()
    }

    fn pick(&self, seed: &mut Seed) -> String {
        let all = self.0.lock().unwrap();
        all[usize::try_from(seed.below(all.len() as u64)).unwrap()].clone()
    }
}

/// A client and its history.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) recorder: Recorder,
    pub(crate) targets: Targets,
    pub(crate) number: u32,
    pub(crate) seed: Seed,
    known: HashMap<String, Client>,
}

impl Caller {
    pub(crate) fn new(recorder: Recorder, targets: Targets, number: u32, seed: Seed) -> Self {
        Self { recorder, targets, number, seed, known: HashMap::new() }
    }

    pub(crate) fn client(&mut self) -> Client {
        let address = self.targets.pick(&mut self.seed);
        self.known.entry(address).or_insert_with_key(|address| client(address)).clone()
    }

    async fn ask<T, F>(
        &mut self,
        call: Call,
        ask: impl FnOnce(Client) -> F,
        say: impl FnOnce(T) -> Answer,
    ) -> Answer
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let client = self.client();
        let ticket = self.recorder.begin(self.number, call);
        let answer = match tokio::time::timeout(PATIENCE, ask(client)).await {
            Ok(Ok(answer)) => say(answer.into_inner()),
            Ok(Err(status)) => words::refusal(&status),
            Err(_) => Answer::Unknown,
        };
        self.recorder.end(ticket, answer.clone());
        answer
    }

    pub(crate) async fn enqueue(&mut self, jobs: Vec<Job>) -> Answer {
        let tasks = jobs.iter().map(words::task).collect();
        let request = pb::EnqueueRequest { tasks, ..Default::default() };
        self.ask(Call::Enqueue(jobs), async |mut client| client.enqueue(request).await, words::stored).await
    }

    pub(crate) async fn lease(&mut self, max_tasks: u32) -> Vec<Grant> {
        let call = Call::Lease { queue: "q".into(), duration: LEASE };
        let request = pb::LeaseRequest {
            queues: vec!["q".into()],
            worker: self.number.to_string(),
            max_tasks,
            lease_duration: Some(words::span(LEASE)),
            wait: Some(words::span(200_000)),
            ..Default::default()
        };
        let say =
            |answer: pb::LeaseResponse| Answer::Given(answer.leases.into_iter().map(words::grant).collect());
        match self.ask(call, async |mut client| client.lease(request).await, say).await {
            Answer::Given(grants) => grants,
            _ => Vec::new(),
        }
    }

    pub(crate) async fn heartbeat(&mut self, lease: &Hold) {
        let request = pb::HeartbeatRequest {
            leases: vec![words::refer(lease)],
            lease_duration: Some(words::span(LEASE)),
            ..Default::default()
        };
        let call = Call::Heartbeat(vec![lease.clone()], LEASE);
        self.ask(call, async |mut client| client.heartbeat(request).await, extended).await;
    }

    pub(crate) async fn settle(&mut self, lease: &Hold, outcome: &Outcome) -> Answer {
        use nova_chaos::history::State;
        let call = Call::Settle(lease.clone(), outcome.clone());
        let lease_ref = Some(words::refer(lease));
        match outcome {
            Outcome::Completed(result) => {
                let result = result.clone().into_bytes().into();
                let request = pb::CompleteRequest { lease: lease_ref, result, ..Default::default() };
                let say = |_| Answer::Settled(State::Completed);
                self.ask(call, async |mut client| client.complete(request).await, say).await
            }
            Outcome::Failed { .. } => {
                let request = words::fails(lease, outcome);
                let say = |answer: pb::FailResponse| Answer::Settled(words::state(answer.state()));
                self.ask(call, async |mut client| client.fail(request).await, say).await
            }
            Outcome::Released | Outcome::Snoozed(_) => {
                let delay = match outcome {
                    Outcome::Snoozed(delay) => Some(words::span(*delay)),
                    _ => None,
                };
                let request = pb::ReleaseRequest { lease: lease_ref, delay, ..Default::default() };
                let say = |_| Answer::Settled(State::Ready);
                self.ask(call, async |mut client| client.release(request).await, say).await
            }
        }
    }

    /// A result that is said once.
    pub(crate) fn completes(&self, grant: &Grant) -> Outcome {
        let order = self.recorder.now().order;
        Outcome::Completed(format!("{} by {} as {order}", grant.lease.token, self.number))
    }

    pub(crate) async fn read(&mut self, id: &str) {
        let request = pb::GetTaskRequest { task_id: id.into(), ..Default::default() };
        let say = |answer: pb::GetTaskResponse| Answer::Seen(answer.task.map(words::snapshot));
        self.ask(Call::Read(id.into()), async |mut client| client.get_task(request).await, say).await;
    }

    /// Leaves a checkpoint for the next attempt.
    pub(crate) async fn report(&mut self, grant: &Grant) {
        let lease = &grant.lease;
        let left = format!("left by {} as {}", self.number, self.recorder.now().order);
        let report = pb::LeaseReport {
            lease: Some(words::refer(lease)),
            progress: Some(pb::Progress { fraction: 0.5, note: "half".into() }),
            checkpoint: Some(left.clone().into_bytes().into()),
        };
        let request = pb::HeartbeatRequest {
            lease_duration: Some(words::span(LEASE)),
            reports: vec![report],
            ..Default::default()
        };
        let call = Call::Report(lease.clone(), left, LEASE);
        self.ask(call, async |mut client| client.heartbeat(request).await, extended).await;
    }

    /// Asks for the word that nobody else is given the task.
    pub(crate) async fn prove(&mut self, lease: &Hold) {
        let request = pb::ProveLeasesRequest { leases: vec![words::refer(lease)], ..Default::default() };
        let say = |answer: pb::ProveLeasesResponse| {
            let proof = answer.proofs.into_iter().next().unwrap();
            Answer::Proven(proof.duration.filter(|_| !proof.lost).map(words::micros))
        };
        let call = Call::Prove(lease.clone());
        self.ask(call, async |mut client| client.prove_leases(request).await, say).await;
    }

    /// Does what only operators may.
    pub(crate) async fn order(&mut self, call: &Call) -> Answer {
        match call.clone() {
            Call::Pause(queue) => {
                let request = pb::PauseQueueRequest { queue, ..Default::default() };
                self.ask(call.clone(), async |mut client| client.pause_queue(request).await, done).await
            }
            Call::Resume(queue) => {
                let request = pb::ResumeQueueRequest { queue, ..Default::default() };
                self.ask(call.clone(), async |mut client| client.resume_queue(request).await, done).await
            }
            Call::Limit(queue, limits) => {
                let settings = Some(words::settings(&limits));
                let paths = ["max_running", "group_max_running", "rate"].map(String::from).to_vec();
                let update_mask = Some(prost_types::FieldMask { paths });
                let request = pb::UpdateQueueRequest { queue, settings, update_mask, ..Default::default() };
                self.ask(call.clone(), async |mut client| client.update_queue(request).await, done).await
            }
            Call::Cancel(id) => {
                let request = pb::CancelTasksRequest { task_ids: vec![id], ..Default::default() };
                let say = |answer: pb::CancelTasksResponse| Answer::Removed(answer.count > 0);
                self.ask(call.clone(), async |mut client| client.cancel_tasks(request).await, say).await
            }
            Call::Purge(id) => {
                let request = pb::PurgeTasksRequest { task_ids: vec![id], ..Default::default() };
                let say = |answer: pb::PurgeTasksResponse| Answer::Removed(answer.count > 0);
                self.ask(call.clone(), async |mut client| client.purge_tasks(request).await, say).await
            }
            other => panic!("{other:?} is no order"),
        }
    }

    /// Makes a task at each tick.
    pub(crate) async fn schedule(&mut self, cron: &str) {
        let task = words::task(&Job { queue: "q".into(), max_attempts: 3, priority: 5, ..Job::default() });
        let schedule = pb::Schedule {
            name: SCHEDULE.into(),
            cron: cron.into(),
            task: Some(task),
            missed: pb::MissedTicks::All.into(),
            ..Default::default()
        };
        let request = pb::PutScheduleRequest { schedule: Some(schedule), ..Default::default() };
        let call = Call::Schedule(SCHEDULE.into());
        self.ask(call, async |mut client| client.put_schedule(request).await, done).await;
    }

    /// Ends the schedule; false when it is not known whether it has.
    pub(crate) async fn unschedule(&mut self) -> bool {
        let request = pb::DeleteScheduleRequest { name: SCHEDULE.into(), ..Default::default() };
        let mut client = self.client();
        match tokio::time::timeout(PATIENCE, client.delete_schedule(request)).await {
            Ok(Ok(_)) => true,
            Ok(Err(status)) => status.code() == Code::NotFound,
            Err(_) => false,
        }
    }
}

fn done<T>(_: T) -> Answer {
    Answer::Done
}

fn extended(answer: pb::HeartbeatResponse) -> Answer {
    Answer::Extended(answer.results.iter().map(|result| !result.lost).collect())
}
