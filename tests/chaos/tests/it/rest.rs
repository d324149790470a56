//! Working off what is left, and reading it.

use std::time::Duration;

use nova_chaos::history::{Rest, Snapshot, State};
use nova_proto::queue::v1 as pb;
use tonic::Status;

use crate::{
    caller::{Caller, Client, client},
    operator::reopen,
    words,
    worker::complete,
};

/// Works until every task has ended, and answers what there is.
pub(crate) async fn drain(mut caller: Caller) -> Rest {
    reopen(&mut caller).await;
    loop {
        let grants = caller.lease(50).await;
        for grant in &grants {
            complete(&mut caller, grant).await;
        }
        let address = caller.targets.first();
        if grants.is_empty()
            && let Ok(rest) = read(&mut client(&address)).await
            && rest.counted.iter().all(|(state, count)| state.is_terminal() || *count == 0)
        {
            return rest;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Everything that there is, when all of it has ended.
async fn read(client: &mut Client) -> Result<Rest, Status> {
    let mut rest = Rest { counted: counted(client).await?, ..Rest::default() };
    if rest.counted.iter().all(|(state, count)| state.is_terminal() || *count == 0) {
        rest.tasks = tasks(client).await?;
    }
    Ok(rest)
}

/// What there is, whether it has ended or not; only what has ended is counted. It is read again when more has ended
/// meanwhile, such as a task whose last lease expired.
pub(crate) async fn as_it_is(client: &mut Client) -> Result<Rest, Status> {
    loop {
        let rest = Rest { counted: ended(client).await?, tasks: tasks(client).await? };
        if ended(client).await? == rest.counted {
            return Ok(rest);
        }
    }
}

async fn ended(client: &mut Client) -> Result<Vec<(State, u64)>, Status> {
    let mut counted = counted(client).await?;
    counted.retain(|(state, _)| state.is_terminal());
    Ok(counted)
}

/// Every task, with its result.
async fn tasks(client: &mut Client) -> Result<Vec<Snapshot>, Status> {
    let mut tasks = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListTasksRequest { page_size: 200, page_token, ..Default::default() };
        let page = client.list_tasks(request).await?.into_inner();
        for task in page.tasks {
            tasks.extend(whole(client, task.id).await?.map(words::snapshot));
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(tasks);
        }
    }
}

async fn whole(client: &mut Client, task_id: String) -> Result<Option<pb::Task>, Status> {
    let request = pb::GetTaskRequest { task_id, ..Default::default() };
    Ok(client.get_task(request).await?.into_inner().task)
}

async fn counted(client: &mut Client) -> Result<Vec<(State, u64)>, Status> {
    let queues = client.list_queues(pb::ListQueuesRequest::default()).await?.into_inner().queues;
    let of = |queue: &pb::QueueStats| {
        [
            (State::Waiting, queue.waiting),
            (State::Ready, queue.ready),
            (State::Leased, queue.leased),
            (State::Completed, queue.completed),
            (State::Dead, queue.dead),
            (State::Cancelled, queue.cancelled),
        ]
    };
    Ok(queues.iter().flat_map(of).collect())
}
