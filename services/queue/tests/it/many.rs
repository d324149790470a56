//! Very many tasks, which operators change a page at a time: each call does little, and others go on in between.

use nova_proto::queue::v1 as pb;
use pb::{settlement::Outcome, work_request::Message as Say};

use crate::{
    control::stats,
    harness::{Client, Home, ask, broken, client, complete, enqueue, put, refer, take, task},
    work::Worker,
};

const MANY: usize = 20_000;
/// Most tasks that one call changes, and that one message settles.
const PAGE: usize = 1_000;

/// Lets all of them fail for good.
async fn bury(client: &mut Client) {
    for _ in 0..MANY / PAGE {
        client.enqueue(enqueue(vec![task("t"); PAGE])).await.unwrap();
    }
    let credit = u32::try_from(PAGE).unwrap();
    let mut worker = Worker::open(client, credit).await;
    for _ in 0..MANY / PAGE {
        let mut held = worker.leases().await;
        while held.len() < PAGE {
            held.extend(worker.leases().await);
        }
        worker.settle_all(held.iter().map(fails_for_good).collect()).await;
        worker.say(Say::Credit(credit)).await;
    }
}

fn fails_for_good(lease: &pb::Lease) -> pb::Settlement {
    let failure = pb::Failure { error: Some(broken()), permanent: true, ..Default::default() };
    pb::Settlement { lease: Some(refer(lease)), outcome: Some(Outcome::Failed(failure)) }
}

/// A task of somebody else, from beginning to end.
async fn others_live(client: &mut Client) {
    let queue = || "others".to_owned();
    put(client, pb::NewTask { queue: queue(), ..task("t") }).await;
    let lease = take(client, pb::LeaseRequest { queues: vec![queue()], ..ask() }).await;
    client.complete(complete(&lease, "r")).await.unwrap();
}

/// Calls with the token of each page, until there is none; answers how many tasks were changed.
async fn by_page(client: &mut Client, call: impl AsyncFn(Client, String) -> (u64, String)) -> u64 {
    let (mut changed, mut page_token) = (0, String::new());
    loop {
        let (count, next) = call(client.clone(), page_token).await;
        assert!(count <= PAGE as u64, "{count} in one call");
        others_live(client).await;
        changed += count;
        page_token = next;
        if page_token.is_empty() {
            return changed;
        }
    }
}

async fn redrive(mut client: Client, page_token: String) -> (u64, String) {
    let request = pb::RedriveTasksRequest { queue: "q".into(), page_token, ..Default::default() };
    let answer = client.redrive_tasks(request).await.unwrap().into_inner();
    (answer.count, answer.next_page_token)
}

async fn cancel(mut client: Client, page_token: String) -> (u64, String) {
    let request = pb::CancelTasksRequest { queue: "q".into(), page_token, ..Default::default() };
    let answer = client.cancel_tasks(request).await.unwrap().into_inner();
    (answer.count, answer.next_page_token)
}

pub(crate) async fn very_many_tasks_are_redriven_and_cancelled_a_page_at_a_time(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    bury(&mut client).await;
    assert_eq!(stats(&mut client).await.dead, MANY as u64);
    assert_eq!(by_page(&mut client, redrive).await, MANY as u64);
    let redriven = stats(&mut client).await;
    assert_eq!((redriven.ready, redriven.dead), (MANY as u64, 0));
    assert_eq!(by_page(&mut client, cancel).await, MANY as u64);
    let cancelled = stats(&mut client).await;
    assert_eq!((cancelled.ready, cancelled.cancelled), (0, MANY as u64));
}
