//! A worker on the `Work` stream, which writes down what it is told like one that calls.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use nova_chaos::{
    history::{Answer, Call, Grant, Hold, Outcome},
    recorder::Ticket,
};
use nova_proto::queue::v1 as pb;
use pb::{settlement::Outcome as Ends, work_request::Message as Say, work_response::Message as Hear};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::{
    caller::{Caller, LEASE, PATIENCE},
    words,
};

/// Leases that may be on their way at once.
const CREDIT: u32 = 2;

/// Works until it is to stop, on one stream after the other.
pub(crate) async fn work(mut caller: Caller, stopping: Arc<AtomicBool>) {
    while !stopping.load(Ordering::Relaxed) {
        if let Some(mut stream) = Stream::open(&mut caller).await {
            stream.live(&stopping).await;
            stream.close();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

struct Stream<'c> {
    caller: &'c mut Caller,
    say: mpsc::Sender<pb::WorkRequest>,
    hear: Streaming<pb::WorkResponse>,
    /// A call for each lease that may come at any time, begun when its credit was given.
    asked: VecDeque<Ticket>,
    given: VecDeque<Grant>,
}

fn ask(caller: &Caller) -> Ticket {
    caller.recorder.begin(caller.number, Call::Lease { queue: "q".into(), duration: LEASE })
}

fn give_up(caller: &Caller, asked: VecDeque<Ticket>) {
    asked.into_iter().for_each(|asked| caller.recorder.end(asked, Answer::Unknown));
}

impl<'c> Stream<'c> {
    async fn open(caller: &'c mut Caller) -> Option<Self> {
        let open = pb::WorkOpen {
            queues: vec!["q".into()],
            worker: caller.number.to_string(),
            credit: CREDIT,
            lease_duration: Some(words::span(LEASE)),
            ..Default::default()
        };
        let (say, said) = mpsc::channel(16);
        say.send(pb::WorkRequest { message: Some(Say::Open(open)) }).await.ok()?;
        let mut client = caller.client();
        let asked: VecDeque<_> = (0..CREDIT).map(|_| ask(caller)).collect();
        let opened = tokio::time::timeout(PATIENCE, client.work(ReceiverStream::new(said))).await;
        let Ok(Ok(opened)) = opened else {
            give_up(caller, asked);
            return None;
        };
        Some(Self { caller, say, hear: opened.into_inner(), asked, given: VecDeque::new() })
    }

    fn close(self) {
        give_up(self.caller, self.asked);
    }

    async fn live(&mut self, stopping: &AtomicBool) {
        while !stopping.load(Ordering::Relaxed) {
            let stands = match self.given.pop_front() {
                Some(grant) => self.handle(&grant).await,
                None => self.wait().await,
            };
            if stands.is_none() {
                return;
            }
        }
    }

    /// Takes what comes; silence is no end.
    async fn wait(&mut self) -> Option<()> {
        match tokio::time::timeout(PATIENCE, self.hear.message()).await {
            Ok(Ok(Some(heard))) => self.take(heard).map_or(Some(()), |_| Some(())),
            Ok(_) => None,
            Err(_) => Some(()),
        }
    }

    /// Notes leases, and gives back what else was heard. A lease may be on its way since the credit for it was given.
    fn take(&mut self, heard: pb::WorkResponse) -> Option<Hear> {
        let Some(Hear::Leases(leases)) = heard.message else { return heard.message };
        let grants: Vec<Grant> = leases.leases.into_iter().map(words::grant).collect();
        for (grant, asked) in grants.iter().zip(self.asked.drain(..grants.len())) {
            self.caller.recorder.end(asked, Answer::Given(vec![grant.clone()]));
        }
        self.given.extend(grants);
        None
    }

    async fn handle(&mut self, grant: &Grant) -> Option<()> {
        match self.caller.seed.below(100) {
            // Forgotten.
            0..10 => {}
            10..20 => self.settle(&grant.lease, Outcome::Released).await?,
            20..35 => {
                let failed = Outcome::Failed { permanent: false, retry_after: None };
                self.settle(&grant.lease, failed).await?;
            }
            35..60 => {
                self.beat(&grant.lease).await?;
                self.complete(grant).await?;
            }
            _ => self.complete(grant).await?,
        }
        self.asked.push_back(ask(self.caller));
        self.say.send(pb::WorkRequest { message: Some(Say::Credit(1)) }).await.ok()
    }

    async fn complete(&mut self, grant: &Grant) -> Option<()> {
        let outcome = self.caller.completes(grant);
        self.settle(&grant.lease, outcome).await
    }

    async fn settle(&mut self, lease: &Hold, outcome: Outcome) -> Option<()> {
        let ends = match &outcome {
            Outcome::Completed(result) => Ends::Completed(result.clone().into_bytes().into()),
            Outcome::Failed { .. } => Ends::Failed(words::failure(&outcome)),
            Outcome::Released | Outcome::Snoozed(_) => Ends::Released(pb::Released::default()),
        };
        let settlement = pb::Settlement { lease: Some(words::refer(lease)), outcome: Some(ends) };
        let say = Say::Settle(pb::WorkSettle { settlements: vec![settlement], credit: 0 });
        self.ask(Call::Settle(lease.clone(), outcome), say, |heard| match heard {
            Hear::Settled(settled) if settled.results[0].lost => Some(Answer::Lost),
            Hear::Settled(settled) => Some(Answer::Settled(words::state(settled.results[0].state()))),
            _ => None,
        })
        .await
    }

    async fn beat(&mut self, lease: &Hold) -> Option<()> {
        let beat = pb::WorkHeartbeat { leases: vec![words::refer(lease)], ..Default::default() };
        let call = Call::Heartbeat(vec![lease.clone()], LEASE);
        self.ask(call, Say::Heartbeat(beat), |heard| match heard {
            Hear::Heartbeats(beats) => Some(Answer::Extended(vec![!beats.results[0].lost])),
            _ => None,
        })
        .await
    }

    /// Says something and waits for its answer; without one the stream is of no use any more.
    async fn ask(&mut self, call: Call, say: Say, answers: impl Fn(Hear) -> Option<Answer>) -> Option<()> {
        let ticket = self.caller.recorder.begin(self.caller.number, call);
        let answer = tokio::time::timeout(PATIENCE, self.answer(say, answers)).await.ok().flatten();
        let answered = answer.is_some().then_some(());
        self.caller.recorder.end(ticket, answer.unwrap_or(Answer::Unknown));
        answered
    }

    async fn answer(&mut self, say: Say, answers: impl Fn(Hear) -> Option<Answer>) -> Option<Answer> {
        self.say.send(pb::WorkRequest { message: Some(say) }).await.ok()?;
        loop {
            let heard = self.hear.message().await.ok().flatten()?;
            if let Some(answer) = self.take(heard).and_then(&answers) {
                return Some(answer);
            }
        }
    }
}
