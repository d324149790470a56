//! The agent's memory: each step writes once, however often it is tried.

use std::collections::HashMap;
use std::time::Duration;

use nova_client::Mesh;
use nova_proto::memory::v1::{Memory, MemoryKind, PutMemoryRequest, SearchMemoriesRequest};
use nova_rpc::Reason;
use nova_types::{AgentId, Namespace};
use nova_worker::Failure;
use serde_json::{Value, json};

use crate::skills::Outcome;
use crate::step::StepTask;

/// How long a call may take; the identity daemon may just be starting again.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longest text of a memory, in bytes.
const TEXT: usize = 60 << 10;
/// Largest data of a memory, in bytes.
const DATA: usize = 250 << 10;
/// Stands for data that is larger, with its size.
const OMITTED: &str = "omitted_bytes";
/// Memories in one page.
const PAGE: u32 = 100;

/// What an agent remembers of its steps.
#[derive(Clone, Debug)]
pub(crate) struct Notebook {
    mesh: Mesh,
    agent: AgentId,
    namespace: Namespace,
}

/// Where in a run something was found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) step: &'a StepTask,
    /// Id of the task: what names a step that belongs to no run.
    pub(crate) task: &'a str,
    /// Kind of the task.
    pub(crate) kind: &'a str,
}

impl Place<'_> {
    /// Key of the one memory that this step writes.
    fn request_id(&self) -> String {
        let StepTask { run, step, .. } = self.step;
        if run.is_empty() { format!("{}/1", self.task) } else { format!("{run}/{step}/1") }
    }

    fn labels(&self) -> HashMap<String, String> {
        let labels = [
            ("run", self.step.run.as_str()),
            ("phase", &self.step.phase),
            ("step", &self.step.step),
            ("kind", self.kind),
        ];
        let labels = labels.into_iter().filter(|(_, value)| !value.is_empty());
        labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }
}

impl Notebook {
    pub(crate) fn new(mesh: Mesh, agent: AgentId, namespace: Namespace) -> Self {
        Self { mesh, agent, namespace }
    }

    /// Writes what a step found, and answers what is remembered of it: of an earlier attempt that
    /// was cut off after it wrote, what that one found.
    pub(crate) async fn remember(
        &self,
        place: Place<'_>,
        kind: MemoryKind,
        outcome: Outcome,
    ) -> Result<Value, Failure> {
        let mut labels = place.labels();
        labels.insert("agent".to_owned(), self.agent.to_string());
        let memory = PutMemoryRequest {
            namespace: self.namespace.to_string(),
            request_id: place.request_id(),
            kind: kind.into(),
            text: text(&outcome.summary),
            data_json: data(&outcome.data),
            labels,
            importance: outcome.importance,
        };
        match self.mesh.memory().put_memory(patient(memory)).await {
            Ok(_) => Ok(outcome.data),
            Err(status) => {
                let failure = Failure::call(&status);
                if failure.reason() != Reason::IdempotencyMismatch.as_str() {
                    return Err(failure);
                }
                Ok(self.recall(place).await?.unwrap_or(outcome.data))
            }
        }
    }

    /// What an earlier attempt at the same step found, if one got that far and all of it was remembered.
    pub(crate) async fn recall(&self, place: Place<'_>) -> Result<Option<Value>, Failure> {
        if place.step.run.is_empty() {
            return Ok(None);
        }
        let (memories, _) = self.page(place.labels(), String::new()).await?;
        Ok(memories.first().and_then(|memory| whole(&memory.data_json)))
    }

    /// All that was written in a run, oldest first, at most `most`.
    pub(crate) async fn of_run(&self, run: &str, most: usize) -> Result<Vec<Memory>, Failure> {
        let labels = HashMap::from([("run".to_owned(), run.to_owned())]);
        let (mut found, mut next) = self.page(labels.clone(), String::new()).await?;
        while !next.is_empty() && found.len() < most {
            let (page, token) = self.page(labels.clone(), next).await?;
            found.extend(page);
            next = token;
        }
        found.truncate(most);
        found.reverse();
        Ok(found)
    }

    async fn page(
        &self,
        labels: HashMap<String, String>,
        token: String,
    ) -> Result<(Vec<Memory>, String), Failure> {
        let search = SearchMemoriesRequest {
            namespace: self.namespace.to_string(),
            query: String::new(),
            labels,
            page_size: PAGE,
            page_token: token,
        };
        let answer = self.mesh.memory().search_memories(patient(search)).await?.into_inner();
        Ok((answer.hits.into_iter().filter_map(|hit| hit.memory).collect(), answer.next_page_token))
    }
}

fn patient<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(PATIENCE);
    request
}

fn text(summary: &str) -> String {
    let end = (0..=summary.len().min(TEXT)).rev().find(|&end| summary.is_char_boundary(end)).unwrap_or(0);
    if end == 0 { "nothing to tell".to_owned() } else { summary[..end].to_owned() }
}

/// What is too large to be remembered is said to be; the task's result holds all of it.
fn data(data: &Value) -> String {
    let json = data.to_string();
    if json.len() <= DATA { json } else { json!({OMITTED: json.len()}).to_string() }
}

/// What [`data`] was made from; none when that was left out: no attempt answers with less than it would find.
fn whole(json: &str) -> Option<Value> {
    let data: Value = serde_json::from_str(json).ok()?;
    let is_left_out =
        data.as_object().is_some_and(|object| object.len() == 1 && object.contains_key(OMITTED));
    (!is_left_out).then_some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(run: &str) -> StepTask {
        StepTask { run: run.into(), step: "cpu".into(), ..StepTask::default() }
    }

    #[test]
    fn every_attempt_at_a_step_has_the_same_key() {
        let key = |run| Place { step: &step(run), task: "t-1", kind: "host.cpu" }.request_id();
        assert_eq!(key("r-1"), "r-1/cpu/1");
        assert_eq!(key(""), "t-1/1");
    }

    #[test]
    fn large_findings_are_remembered_by_their_summary_alone() {
        let large = json!({"files": vec!["x".repeat(1_000); 300]});
        assert!(data(&large).starts_with("{\"omitted_bytes\""));
        assert!(text(&"ä".repeat(TEXT)).len() <= TEXT);
    }

    #[test]
    fn what_is_remembered_is_all_that_was_found_or_nothing() {
        let small = json!({"files": ["a"]});
        assert_eq!(whole(&data(&small)), Some(small));
        let large = json!({"files": vec!["x".repeat(1_000); 300]});
        assert_eq!(whole(&data(&large)), None, "the step is done anew");
    }
}
