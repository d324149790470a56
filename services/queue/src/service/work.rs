//! Work: the stream a worker lives on.
//!
//! One session runs for each stream. It keeps one lease call waiting while there is credit, settles and
//! heartbeats in the order in which they came (several commits may be under way), and never blocks one on the
//! other. When the stream ends, leases that the transport has not taken go back; those the worker has stay its own
//! until they expire.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures::{StreamExt as _, stream::FuturesOrdered};
use nova_proto::queue::v1::{self as pb, work_request::Message, work_response};
use nova_rpc::Caller;
use nova_types::{Violation, Violations};
use tokio::time::timeout;
use tonic::{Status, Streaming};

use crate::{
    Error,
    mark::Mark,
    metrics,
    record::{Lease, LeaseRef, LeaseRequest, Report, Settled, Settlement},
    service::{
        QueueService,
        outgoing::{Answers, Outgoing, Parcel, Undelivered},
        parse, reserved,
        unary::{kind, refused},
        wire,
    },
    store::{Place, Store},
};

/// Most credit that a stream may have.
const CREDIT: usize = 10_000;

/// Most leases in one message.
const BATCH: usize = 1_000;

/// How long one lease call waits before it is made anew.
const WAIT: Duration = Duration::from_secs(60);

/// How long a stream may say nothing until it is opened.
const OPENING: Duration = Duration::from_secs(10);

/// Settlements and heartbeats under way, beyond which the stream is not read.
const UNDER_WAY: usize = 64;

/// Answers on their way to a slow worker.
const BUFFER: usize = 16;

type Leasing = Pin<Box<dyn Future<Output = Result<Vec<Lease>, Error>> + Send>>;
type Replying = Pin<Box<dyn Future<Output = Result<work_response::Message, Error>> + Send>>;

/// Opens a session; it ends with the stream or with the daemon.
pub(super) fn work(
    service: &QueueService,
    caller: Arc<Caller>,
    incoming: Streaming<pb::WorkRequest>,
) -> Result<Outgoing<pb::WorkResponse>, Error> {
    let (out, answers) = service.streams.open(BUFFER)?;
    let service = service.clone();
    let runtime = service.runtime.clone();
    runtime.spawn_background("work-stream", async move {
        if let Err(status) = session(service, &caller, incoming, out.clone()).await {
            // A worker that is gone needs no status.
            drop(out.send(Err(status).into()).await);
        }
    });
    Ok(answers)
}

async fn session(
    service: QueueService,
    caller: &Caller,
    mut incoming: Streaming<pb::WorkRequest>,
    out: Answers<pb::WorkResponse>,
) -> Result<(), Status> {
    let first =
        timeout(OPENING, incoming.message()).await.map_err(|_| nova_rpc::Error::deadline_exceeded())?;
    let Some(first) = first.map_err(nova_rpc::unreadable)? else { return Ok(()) };
    let Some(Message::Open(open)) = first.message else {
        return Err(refused(Violation::new("message", "the first must be open")));
    };
    let (mut request, credit) = opened(&open, Mark::of(caller.name())).map_err(refused)?;
    reserved::may_lease(caller, request.queues.iter().map(AsRef::as_ref))?;
    let store = service.store.patient();
    let place = store.streams().enter();
    request.stream = place.number;
    let _present = service.workers.opened(caller, &request);
    let mut session = Session {
        store,
        place,
        request,
        credit,
        leasing: None,
        replying: FuturesOrdered::new(),
        out,
        draining: false,
    };
    session.run(&mut incoming, service.runtime.shutdown()).await
}

fn opened(open: &pb::WorkOpen, mark: Mark) -> Result<(LeaseRequest, usize), Violations> {
    let mut violations = Violations::new();
    let namespace = violations.take(parse::namespace(&open.namespace).map_err(|v| v.within("open")));
    let queues = violations.take(parse::queues("open.queues", &open.queues));
    let worker = violations.take(parse::worker("open.worker", &open.worker));
    let field = "open.lease_duration";
    let duration = violations.take(parse::lease_duration(field, open.lease_duration.as_ref()));
    let rule = format!("{} must be at most {CREDIT}", open.credit);
    violations.require(open.credit as usize <= CREDIT, "open.credit", &rule);
    violations.finish()?;
    let request = LeaseRequest {
        namespace: namespace.unwrap_or_default(),
        queues: queues.unwrap_or_default(),
        worker: worker.unwrap_or_default(),
        max: 0,
        duration: duration.unwrap_or_default(),
        wait: WAIT,
        stream: 0,
        mark,
    };
    Ok((request, open.credit as usize))
}

struct Session {
    store: Store,
    place: Place,
    request: LeaseRequest,
    credit: usize,
    leasing: Option<Leasing>,
    replying: FuturesOrdered<Replying>,
    out: Answers<pb::WorkResponse>,
    draining: bool,
}

impl Session {
    async fn run(
        &mut self,
        incoming: &mut Streaming<pb::WorkRequest>,
        drain: tokio_util::sync::CancellationToken,
    ) -> Result<(), Status> {
        let mut open = true;
        let out = self.out.clone();
        while open || !self.replying.is_empty() {
            self.ask_for_work(open);
            let readable = open && self.replying.len() < UNDER_WAY;
            tokio::select! {
                biased;
                () = out.closed() => return Ok(()),
                Some(reply) = self.replying.next() => self.tell(reply?).await,
                message = incoming.message(), if readable => match message.map_err(nova_rpc::unreadable)? {
                    Some(message) => self.hear(message).map_err(refused)?,
                    None => open = false,
                },
                leases = next_leases(&mut self.leasing) => self.deliver(leases?).await,
                Some(first) = self.place.cancelled.recv() => self.tell_cancelled(first).await,
                () = drain.cancelled(), if !self.draining => self.announce_drain().await,
            }
        }
        Ok(())
    }

    /// Keeps one lease call waiting while there is credit.
    fn ask_for_work(&mut self, open: bool) {
        if self.leasing.is_some() || self.credit == 0 || self.draining || !open {
            return;
        }
        let (store, mut request) = (self.store.clone(), self.request.clone());
        request.max = self.credit.min(BATCH);
        self.leasing = Some(Box::pin(async move { store.lease(request).await }));
    }

    /// Takes a message of the worker.
    fn hear(&mut self, message: pb::WorkRequest) -> Result<(), Violation> {
        match message.message {
            Some(Message::Credit(more)) => self.add_credit("credit", 1, more)?,
            Some(Message::Heartbeat(heartbeat)) => {
                let parsed = parse::heartbeat(&heartbeat.leases, heartbeat.reports, self.request.mark);
                let (leases, reports) = parsed.map_err(|violation| violation.within("heartbeat"))?;
                self.replying.push_back(self.heartbeat(leases, reports));
            }
            Some(Message::Settle(settle)) => {
                self.add_credit("settle.credit", 0, settle.credit)?;
                let parsed = parse::settlements(settle, self.request.mark);
                let settlements = parsed.map_err(|violation| violation.within("settle"))?;
                self.replying.push_back(self.settle(settlements));
            }
            Some(Message::Open(_)) => return Err(Violation::new("open", "the stream is open already")),
            None => return Err(Violation::new("message", "must be set")),
        }
        Ok(())
    }

    fn add_credit(&mut self, field: &str, least: usize, more: u32) -> Result<(), Violation> {
        let more = more as usize;
        if !(least..=CREDIT).contains(&more) {
            return Err(Violation::new(field, format!("{more} must be {least} to {CREDIT}")));
        }
        self.credit = (self.credit + more).min(CREDIT);
        Ok(())
    }

    fn heartbeat(&self, leases: Vec<LeaseRef>, reports: Vec<Report>) -> Replying {
        let (store, namespace) = (self.store.clone(), Arc::clone(&self.request.namespace));
        let duration = self.request.duration;
        Box::pin(async move {
            let told = wire::reported(&leases, &reports);
            let ends = store.report(&namespace, leases, reports, Some(duration)).await?;
            Ok(work_response::Message::Heartbeats(wire::heartbeats(&told, &ends)))
        })
    }

    fn settle(&self, settlements: Vec<Settlement>) -> Replying {
        let (store, namespace) = (self.store.clone(), Arc::clone(&self.request.namespace));
        Box::pin(async move {
            let leases = wire::lease_refs(&settlements);
            let kinds: Vec<&str> = settlements.iter().map(|one| kind(&one.outcome)).collect();
            let settled = store.settle(&namespace, settlements).await?;
            count(&kinds, &settled);
            let results =
                leases.into_iter().zip(settled).map(|(lease, settled)| wire::settled(lease, settled));
            Ok(work_response::Message::Settled(pb::WorkSettled { results: results.collect() }))
        })
    }

    /// Hands leases to the worker; each takes one credit. What it does not take goes back.
    async fn deliver(&mut self, leases: Vec<Lease>) {
        if leases.is_empty() {
            return;
        }
        self.credit = self.credit.saturating_sub(leases.len());
        let refs: Vec<LeaseRef> = leases.iter().map(Lease::refer).collect();
        let leases = leases.into_iter().map(wire::lease).collect();
        let message = work_response::Message::Leases(pb::WorkLeases { leases });
        let undelivered = Undelivered::new(self.store.clone(), Arc::clone(&self.request.namespace), refs);
        let answer = pb::WorkResponse { message: Some(message) };
        // A worker that is gone is noticed by the loop.
        drop(self.out.send(Parcel::with_leases(answer, undelivered)).await);
    }

    async fn tell(&mut self, message: work_response::Message) {
        // A worker that is gone is noticed by the loop.
        drop(self.out.send(Ok(pb::WorkResponse { message: Some(message) }).into()).await);
    }

    /// Tells the worker which of its tasks were cancelled: that of this lease, and those that followed it.
    async fn tell_cancelled(&mut self, first: LeaseRef) {
        let more = std::iter::from_fn(|| self.place.cancelled.try_recv().ok());
        let leases = std::iter::once(first).chain(more).map(wire::lease_ref).collect();
        self.tell(work_response::Message::Cancelled(pb::WorkCancelled { leases })).await;
    }

    async fn announce_drain(&mut self) {
        self.draining = true;
        // What it may just have been given goes back.
        self.leasing = None;
        self.tell(work_response::Message::Draining(pb::WorkDraining {})).await;
    }
}

/// The leases of the call that waits; never ends while none does.
async fn next_leases(leasing: &mut Option<Leasing>) -> Result<Vec<Lease>, Error> {
    match leasing {
        Some(waiting) => {
            let leases = waiting.await;
            *leasing = None;
            leases
        }
        None => std::future::pending().await,
    }
}

fn count(kinds: &[&'static str], settled: &[Settled]) {
    for outcome in ["completed", "failed", "released"] {
        let took = |(kind, settled): &(&&str, &Settled)| **kind == outcome && **settled != Settled::Lost;
        metrics::settled(outcome, kinds.iter().zip(settled).filter(took).count());
    }
    metrics::settled("lost", settled.iter().filter(|one| **one == Settled::Lost).count());
}
