//! Which tasks a command is about: by id, or by what they are like.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use nova_proto::queue::v1::{Task, TaskFilter};
use nova_types::{Clock as _, SystemClock};

use super::scope::Scope;
use super::{admin, task};
use crate::commands::arguments;
use crate::failure::NotFound;

/// What tasks are like; all that is given must fit.
#[derive(Debug, Clone, Args)]
pub(crate) struct Like {
    /// Only this kind of work.
    #[arg(long, value_name = "KIND", value_parser = NonEmptyStringValueParser::new())]
    kind: Option<String>,
    /// Only tasks of this group; an empty name is that of those without one.
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Only tasks with this label; give it again for more.
    #[arg(long, value_name = "KEY=VALUE", value_parser = arguments::pair)]
    metadata: Vec<(String, String)>,
    /// Only tasks whose last failed attempt gave this reason.
    #[arg(long, value_name = "REASON", value_parser = NonEmptyStringValueParser::new())]
    error: Option<String>,
    /// Only tasks that were enqueued longer ago than this, such as 7d.
    #[arg(long, value_name = "TIME", value_parser = arguments::duration)]
    older_than: Option<Duration>,
    /// Only tasks that were enqueued within this time.
    #[arg(long, value_name = "TIME", value_parser = arguments::duration)]
    newer_than: Option<Duration>,
}

impl Like {
    /// The filter on the wire; none when nothing is given.
    pub(crate) fn filter(&self) -> anyhow::Result<Option<TaskFilter>> {
        let filter = TaskFilter {
            kind: self.kind.clone().unwrap_or_default(),
            group: self.group.clone(),
            metadata: arguments::labels(self.metadata.clone())?,
            error_reason: self.error.clone().unwrap_or_default(),
            create_time_from: self.newer_than.map(ago),
            create_time_before: self.older_than.map(ago),
        };
        Ok((filter != TaskFilter::default()).then_some(filter))
    }
}

/// The moment that is so long ago.
fn ago(time: Duration) -> prost_types::Timestamp {
    (SystemClock.now() - time).to_wire()
}

/// The tasks that a command changes.
#[derive(Debug, Args)]
pub(crate) struct Selection {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    like: Like,
    /// Change nothing: tell how many tasks it would be about, and the newest of them.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Tasks by id, or those of a queue.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Named {
    /// Ids of tasks.
    #[arg(value_name = "TASK", value_parser = arguments::task, conflicts_with = "Like")]
    tasks: Vec<String>,
    /// Instead of ids: the tasks of this queue.
    #[arg(long, value_name = "QUEUE")]
    queue: Option<String>,
}

/// What was there before anything was changed.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The tasks, if they were named.
    pub(crate) tasks: Vec<Task>,
    missing: Vec<String>,
}

/// What one call of a command that changes tasks names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Page {
    pub(crate) namespace: String,
    pub(crate) task_ids: Vec<String>,
    pub(crate) queue: String,
    pub(crate) filter: Option<TaskFilter>,
    pub(crate) page_token: String,
}

/// Most ids of one call.
const IDS: usize = 1_000;
/// Tasks that are looked for at once.
const LOOKS: usize = 16;

impl Selection {
    /// The queue whose tasks are meant, where they are not named.
    pub(crate) fn queue(&self) -> Option<&str> {
        self.named.queue.as_deref()
    }

    /// What they are like.
    pub(crate) fn filter(&self) -> anyhow::Result<Option<TaskFilter>> {
        self.like.filter()
    }

    /// Looks for what is named; fails when nothing of it is there.
    pub(crate) async fn find(&self, scope: &Scope<'_>) -> anyhow::Result<Found> {
        if let Some(queue) = &self.named.queue {
            return admin::get(scope, queue).await.map(|_| Found::default());
        }
        let ids: BTreeSet<&String> = self.named.tasks.iter().collect();
        let looks = ids.into_iter().map(|id| async move { anyhow::Ok((id, task::find(scope, id).await?)) });
        let looked: Vec<_> = stream::iter(looks).buffered(LOOKS).try_collect().await?;
        let mut found = Found::default();
        for (id, task) in looked {
            match task {
                Some(task) => found.tasks.push(task),
                None => found.missing.push(id.clone()),
            }
        }
        if found.tasks.is_empty() { found.ends(Vec::new()).map(|()| found) } else { Ok(found) }
    }

    /// Calls until every task was looked at; answers how many were changed.
    pub(crate) async fn each(
        &self,
        scope: &Scope<'_>,
        found: &Found,
        mut call: impl AsyncFnMut(Page) -> anyhow::Result<(u64, String)>,
    ) -> anyhow::Result<u64> {
        let mut count = 0;
        let whole = Page { namespace: scope.namespace(), ..Page::default() };
        for tasks in found.tasks.chunks(IDS) {
            let task_ids = tasks.iter().map(|task| task.id.clone()).collect();
            count += call(Page { task_ids, ..whole.clone() }).await?.0;
        }
        let Some(queue) = self.named.queue.clone() else { return Ok(count) };
        let mut page = Page { queue, filter: self.filter()?, ..whole };
        loop {
            let (changed, next) = call(page.clone()).await?;
            count += changed;
            if next.is_empty() {
                return Ok(count);
            }
            page.page_token = next;
        }
    }
}

impl Found {
    /// How a command ends that has changed what it could: with what was not there, and what it was refused.
    pub(crate) fn ends(&self, refused: Vec<String>) -> anyhow::Result<()> {
        let missing = self.missing.iter().map(|id| format!("there is no task {id}"));
        let told = missing.chain(refused).collect::<Vec<_>>().join("\n  ");
        if !self.missing.is_empty() {
            return Err(NotFound(told).into());
        }
        if told.is_empty() { Ok(()) } else { Err(anyhow::Error::msg(told)) }
    }
}
