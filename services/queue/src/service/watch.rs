//! WatchTasks: follows the event log from a cursor.

use std::sync::Arc;

use nova_proto::queue::v1 as pb;
use nova_types::{Violation, Violations};
use tonic::Status;

use crate::{
    engine::ring::Passage,
    ledger::redis::Role,
    record::{Cursor, TaskEvent},
    service::{
        QueueService, lists,
        outgoing::{Answers, Outgoing},
        parse,
        unary::refused,
        wire,
    },
};

/// Events read at once.
const CHUNK: usize = 256;

/// Answers on their way to a slow reader.
const BUFFER: usize = 64;

/// Events of others after which a watch is told how far the log is, so that its cursor does not grow old.
const SKIPPED: u64 = 4_096;

/// What a watch is to see.
#[derive(Debug)]
struct Filter {
    namespace: Arc<str>,
    queue: Option<Arc<str>>,
    label: Option<(String, String)>,
}

impl Filter {
    fn matches(&self, event: &TaskEvent) -> bool {
        let spec = &event.task.spec;
        spec.namespace == self.namespace
            && self.queue.as_ref().is_none_or(|queue| spec.queue == *queue)
            && self.label.as_ref().is_none_or(|(key, value)| spec.label(key) == Some(value))
    }
}

/// Opens a watch; its first message carries only the cursor at which it stands.
pub(super) async fn watch_tasks(
    service: &QueueService,
    request: pb::WatchTasksRequest,
) -> Result<Outgoing<pb::WatchTasksResponse>, Status> {
    let (filter, cursor) = parsed(&request).map_err(refused)?;
    let news = service.store.news();
    let cursor = match cursor {
        Some(cursor) => cursor,
        None => service.store.head(),
    };
    // An expired cursor is refused at once, not in the stream.
    service.store.events(cursor, 1, &|_| false).await?;
    let (out, answers) = service.streams.open(BUFFER)?;
    let watch = Watch { service: service.clone(), filter, cursor, told: cursor, news, out };
    service.runtime.spawn("watch-tasks", watch.run());
    Ok(answers)
}

fn parsed(request: &pb::WatchTasksRequest) -> Result<(Filter, Option<Cursor>), Violations> {
    let mut violations = Violations::new();
    let namespace = violations.take(parse::namespace(&request.namespace));
    let queue = violations.take(lists::queue(&request.queue));
    let label = violations.take(label(&request.metadata_filter));
    let cursor = violations.take(wire::parse_cursor(&request.cursor));
    violations.finish()?;
    let (namespace, queue) = (namespace.unwrap_or_default(), queue.flatten());
    Ok((Filter { namespace, queue, label: label.flatten() }, cursor.flatten()))
}

fn label(filter: &str) -> Result<Option<(String, String)>, Violation> {
    if filter.is_empty() {
        return Ok(None);
    }
    let (key, value) = filter.split_once('=').unwrap_or_default();
    if key.is_empty() || key.len() > 64 || value.len() > 256 {
        let rule = "must be key=value, with a key of 1 to 64 bytes and a value of up to 256";
        return Err(Violation::new("metadata_filter", rule));
    }
    Ok(Some((key.to_owned(), value.to_owned())))
}

/// Waits until ownership of the ledger changes.
async fn deposed(role: &mut tokio::sync::watch::Receiver<Role>) {
    let opened_under = role.borrow_and_update().clone();
    // A store that is gone ends the watch as well.
    drop(role.wait_for(|role| *role != opened_under).await);
}

/// One open watch.
struct Watch {
    service: QueueService,
    filter: Filter,
    cursor: Cursor,
    /// Where the reader was last told that it stands.
    told: Cursor,
    news: tokio::sync::watch::Receiver<Cursor>,
    out: Answers<pb::WatchTasksResponse>,
}

impl Watch {
    async fn run(mut self) {
        let drain = self.service.runtime.shutdown();
        let mut role = self.service.store.role();
        let out = self.out.clone();
        tokio::select! {
            ended = self.follow() => {
                if let Err(status) = ended {
                    // A reader that is gone needs no status.
                    drop(out.send(Err(status).into()).await);
                }
            }
            () = out.closed() => {}
            () = deposed(&mut role) => {
                let why = nova_rpc::Error::from(role.borrow().refusal());
                // As below.
                drop(out.try_send(Err(why.into()).into()));
            }
            () = drain.cancelled() => {
                let draining = nova_rpc::Error::unavailable("queue", "the daemon drains; resume from the cursor");
                // A reader that is full or gone sees the stream end, and resumes from its cursor all the same.
                drop(out.try_send(Err(draining.into()).into()));
            }
        }
    }

    /// Reads on and on; ends with the reader or an error.
    async fn follow(&mut self) -> Result<(), Status> {
        self.tell(None).await;
        while !self.out.is_closed() {
            self.news.borrow_and_update();
            let (store, filter) = (&self.service.store, &self.filter);
            let passage = store.events(self.cursor, CHUNK, &|event| filter.matches(event)).await?;
            if passage.reached == self.cursor && self.news.changed().await.is_err() {
                return Ok(());
            }
            self.show(passage).await;
        }
        Ok(())
    }

    async fn show(&mut self, passage: Passage) {
        for event in passage.events {
            self.cursor = event.cursor;
            let (time, task) = (wire::time(event.at), Some(wire::task(event.task)));
            self.tell(Some(pb::TaskEvent { task, time })).await;
        }
        self.cursor = passage.reached;
        if self.cursor.0 - self.told.0 >= SKIPPED {
            self.tell(None).await;
        }
    }

    async fn tell(&mut self, event: Option<pb::TaskEvent>) {
        self.told = self.cursor;
        let answer = pb::WatchTasksResponse { cursor: wire::cursor(self.cursor), event };
        // A reader that is gone is noticed before the next read.
        drop(self.out.send(Ok(answer).into()).await);
    }
}
