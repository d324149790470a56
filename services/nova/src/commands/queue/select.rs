//! Which tasks a command is about: by id, or by what they are like.

use clap::Args;
use nova_proto::queue::v1::TaskFilter;

use crate::commands::arguments;

/// What tasks are like; all that is given must fit.
#[derive(Debug, Clone, Args)]
pub(crate) struct Like {
    /// Only this kind of work.
    #[arg(long, value_name = "KIND", default_value = "", hide_default_value = true)]
    kind: String,
    /// Only tasks with this label; give it again for more.
    #[arg(long, value_name = "KEY=VALUE", value_parser = arguments::pair)]
    metadata: Vec<(String, String)>,
    /// Only tasks whose last failed attempt gave this reason.
    #[arg(long, value_name = "REASON", default_value = "", hide_default_value = true)]
    error: String,
}

impl Like {
    /// The filter on the wire; none when nothing is given.
    pub(crate) fn filter(&self) -> anyhow::Result<Option<TaskFilter>> {
        let filter = TaskFilter {
            kind: self.kind.clone(),
            metadata: arguments::labels(self.metadata.clone())?,
            error_reason: self.error.clone(),
            ..Default::default()
        };
        Ok((filter != TaskFilter::default()).then_some(filter))
    }
}

/// Tasks by id, or those of a queue.
#[derive(Debug, Args)]
pub(crate) struct Selection {
    /// Ids of tasks.
    #[arg(value_name = "TASK", required_unless_present = "queue", conflicts_with = "queue", value_parser = arguments::task)]
    pub(crate) tasks: Vec<String>,
    /// Instead of ids: the tasks of this queue.
    #[arg(long, value_name = "QUEUE")]
    queue: Option<String>,
    #[command(flatten)]
    like: Like,
}

/// What one call of a command that changes tasks names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Page {
    pub(crate) task_ids: Vec<String>,
    pub(crate) queue: String,
    pub(crate) filter: Option<TaskFilter>,
    pub(crate) page_token: String,
}

/// Most ids of one call.
const IDS: usize = 1_000;

impl Selection {
    /// Calls until every task was looked at; answers how many were changed.
    pub(crate) async fn each(
        &self,
        mut call: impl AsyncFnMut(Page) -> anyhow::Result<(u64, String)>,
    ) -> anyhow::Result<u64> {
        let mut count = 0;
        for task_ids in self.tasks.chunks(IDS).map(<[String]>::to_vec) {
            count += call(Page { task_ids, ..Page::default() }).await?.0;
        }
        let Some(queue) = self.queue.clone() else { return Ok(count) };
        let mut page = Page { queue, filter: self.like.filter()?, ..Page::default() };
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
