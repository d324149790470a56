//! Lists that come a page at a time.

use nova_proto::queue::v1 as pb;

use crate::harness::{Client, Home, ask, client, enqueue, put, take, task};

/// Most tasks that one call stores.
const BATCH: usize = 1_000;

/// Follows the tokens of a list, two rows at a time; answers all rows.
async fn by_two<T>(client: &mut Client, page: impl AsyncFn(Client, String) -> (Vec<T>, String)) -> Vec<T> {
    let (mut rows, mut token) = (Vec::new(), String::new());
    loop {
        let (found, next) = page(client.clone(), token).await;
        assert!(found.len() <= 2, "{} rows", found.len());
        rows.extend(found);
        token = next;
        if token.is_empty() {
            return rows;
        }
    }
}

pub(crate) async fn queues_come_a_page_at_a_time(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    for queue in ["e", "c", "a", "d", "b"] {
        put(&mut client, pb::NewTask { queue: queue.into(), ..task("t") }).await;
    }
    let found = by_two(&mut client, async |mut client, page_token| {
        let request = pb::ListQueuesRequest { page_size: 2, page_token, ..Default::default() };
        let page = client.list_queues(request).await.unwrap().into_inner();
        (page.queues, page.next_page_token)
    });
    let found: Vec<_> = found.await.into_iter().map(|row| (row.queue, row.ready)).collect();
    assert_eq!(found, ["a", "b", "c", "d", "e"].map(|queue| (queue.to_owned(), 1)));
}

pub(crate) async fn workers_come_a_page_at_a_time(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    for worker in ["w-3", "w-1", "w", "w-2"] {
        put(&mut client, task("t")).await;
        take(&mut client, pb::LeaseRequest { worker: worker.into(), ..ask() }).await;
    }
    let found = by_two(&mut client, async |mut client, page_token| {
        let request = pb::ListWorkersRequest { page_size: 2, page_token, ..Default::default() };
        let page = client.list_workers(request).await.unwrap().into_inner();
        (page.workers, page.next_page_token)
    });
    let found: Vec<_> = found.await.into_iter().map(|worker| worker.name).collect();
    assert_eq!(found, ["w", "w-1", "w-2", "w-3"]);
}

/// More tasks than one call looks at lie before the one that is asked for: they are of another queue.
pub(crate) async fn tasks_of_other_queues_do_not_fill_a_page(home: &Home) {
    let server = home.serve().await;
    let mut client = client(&server);
    let id = put(&mut client, task("t")).await;
    let others = vec![pb::NewTask { queue: "others".into(), ..task("t") }; BATCH];
    for _ in 0..17 {
        client.enqueue(enqueue(others.clone())).await.unwrap();
    }
    let request = pb::ListTasksRequest { queue: "q".into(), ..Default::default() };
    let page = client.list_tasks(request).await.unwrap().into_inner();
    let found: Vec<_> = page.tasks.into_iter().map(|task| task.id).collect();
    assert_eq!((found, &*page.next_page_token), (vec![id], ""));
}
