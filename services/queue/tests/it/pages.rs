//! Lists that come a page at a time.

use nova_proto::queue::v1 as pb;

use crate::harness::{Home, client, enqueue, put, task};

/// Most tasks that one call stores.
const BATCH: usize = 1_000;

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
