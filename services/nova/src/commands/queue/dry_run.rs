//! What a command would be about, told in place of doing it.

use nova_proto::queue::v1::{ListTasksRequest, Task, TaskState};
use serde_json::{Value, json};

use super::scope::Scope;
use super::select::{Found, Selection};
use super::task;
use crate::commands::output;

/// Tasks that are shown.
const SHOWN: usize = 10;
/// Tasks of one page.
const PAGE: u32 = 1_000;

/// Tasks in states that a command changes.
#[derive(Debug, Default)]
struct Touched {
    count: usize,
    /// The newest of them.
    first: Vec<Task>,
}

impl Touched {
    fn add(&mut self, tasks: impl IntoIterator<Item = Task>) {
        for task in tasks {
            self.count += 1;
            if self.first.len() < SHOWN {
                self.first.push(task);
            }
        }
    }
}

/// Tells how many of the selected tasks are in `states`, and which are the newest; nothing is changed.
pub(crate) async fn tell(
    scope: &Scope<'_>,
    which: &Selection,
    found: Found,
    states: &[TaskState],
    what: &str,
) -> anyhow::Result<()> {
    let mut touched = Touched::default();
    touched.add(found.tasks.iter().filter(|task| states.contains(&task.state())).cloned());
    // No states would mean all of them.
    if let Some(queue) = which.queue().filter(|_| !states.is_empty()) {
        add_of_queue(&mut touched, scope, which, queue, states).await?;
    }
    print(scope, &touched, what)?;
    found.ends(Vec::new())
}

async fn add_of_queue(
    touched: &mut Touched,
    scope: &Scope<'_>,
    which: &Selection,
    queue: &str,
    states: &[TaskState],
) -> anyhow::Result<()> {
    let states = states.iter().map(|state| i32::from(*state)).collect();
    let (namespace, queue, filter) = (scope.namespace(), queue.to_owned(), which.filter()?);
    let mut request =
        ListTasksRequest { namespace, queue, states, filter, page_size: PAGE, page_token: String::new() };
    loop {
        let page = scope.mesh.queue().list_tasks(request.clone()).await?.into_inner();
        touched.add(page.tasks);
        if page.next_page_token.is_empty() {
            return Ok(());
        }
        request.page_token = page.next_page_token;
    }
}

fn print(scope: &Scope<'_>, touched: &Touched, what: &str) -> anyhow::Result<()> {
    let Touched { count, first } = touched;
    if scope.context.json {
        let tasks: Vec<Value> = first.iter().map(task::record).collect();
        return output::json(&json!({format!("would_be_{what}"): count, "first": tasks}));
    }
    if !first.is_empty() {
        task::print(scope.context, first)?;
    }
    let shown = if *count > SHOWN { format!("; these are the newest {SHOWN}") } else { String::new() };
    output::line(&format!("{count} would be {what}{shown}"))
}
