//! `memory.summary`: reads back what all agents of the run wrote, and tells it in Markdown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use nova_proto::memory::v1::Memory;
use nova_worker::Failure;
use serde::{Deserialize, Serialize};

use super::{Finding, text};
use crate::memory::Notebook;
use crate::step::StepTask;

/// Kind of its tasks.
pub const KIND: &str = "memory.summary";

/// Memories told at most.
const MOST: usize = 1_000;
/// From this importance on a finding is told first.
const IMPORTANT: f64 = 0.7;

/// What a step gives.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    /// Run to tell of; the step's own unless given.
    run: Option<String>,
    /// Title; `Findings` unless given.
    title: Option<String>,
}

/// The summary of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SummaryFinding {
    /// The summary, in Markdown.
    pub markdown: String,
    /// Findings that it tells of.
    pub findings: usize,
    /// Agents that wrote them.
    pub agents: usize,
}

/// Reads the run's memories and tells of them.
pub(crate) async fn summarise(notebook: &Notebook, step: &StepTask) -> Result<SummaryFinding, Failure> {
    let input: Input = step.with().map_err(|error| Failure::permanent("INVALID_INPUT", error))?;
    let run = input.run.unwrap_or_else(|| step.run.clone());
    if run.is_empty() {
        return Err(Failure::permanent("INVALID_INPUT", "with.run: the step belongs to no run; name one"));
    }
    let memories = notebook.of_run(&run, MOST).await?;
    Ok(tell(input.title.as_deref().unwrap_or("Findings"), &memories))
}

fn tell(title: &str, memories: &[Memory]) -> SummaryFinding {
    let findings: Vec<&Memory> = memories.iter().filter(|memory| label(memory, "kind") != KIND).collect();
    let agents: BTreeSet<&str> = findings.iter().map(|memory| label(memory, "agent")).collect();
    let mut markdown = format!("# {title}\n\n");
    let count = text::count(findings.len() as u64, "finding");
    let by = text::count(agents.len() as u64, "agent");
    write(
        &mut markdown,
        &format!("{count} by {by}: {}.\n", text::list(agents.iter().map(|&a| a.to_owned()), 20)),
    );
    important(&findings, &mut markdown);
    by_phase(&findings, &mut markdown);
    SummaryFinding { markdown, findings: findings.len(), agents: agents.len() }
}

fn important(findings: &[&Memory], markdown: &mut String) {
    let mut first: Vec<&&Memory> = findings.iter().filter(|memory| memory.importance >= IMPORTANT).collect();
    first.sort_by(|a, b| {
        b.importance.total_cmp(&a.importance).then_with(|| label(a, "step").cmp(label(b, "step")))
    });
    if !first.is_empty() {
        write(markdown, "\n## What matters most\n\n");
    }
    for memory in first {
        write(markdown, &line(memory));
    }
}

/// By name, since phases may run at the same time.
fn by_phase(findings: &[&Memory], markdown: &mut String) {
    let mut phases: BTreeMap<&str, Vec<&Memory>> = BTreeMap::new();
    for memory in findings {
        phases.entry(label(memory, "phase")).or_default().push(memory);
    }
    for (phase, mut memories) in phases {
        memories.sort_by_key(|memory| label(memory, "step"));
        write(markdown, &format!("\n## {}\n\n", if phase.is_empty() { "Other" } else { phase }));
        for memory in memories {
            write(markdown, &line(memory));
        }
    }
}

fn line(memory: &Memory) -> String {
    let told = memory.text.replace(['\r', '\n'], " ");
    let [step, kind, agent] = ["step", "kind", "agent"].map(|name| label(memory, name));
    format!("- **{step}** ({kind}, {agent}): {told}\n")
}

fn label<'a>(memory: &'a Memory, key: &str) -> &'a str {
    memory.labels.get(key).map_or("", String::as_str)
}

fn write(markdown: &mut String, text: &str) {
    markdown.write_str(text).expect("a String takes any text");
}

impl Finding for SummaryFinding {
    fn summary(&self) -> String {
        self.markdown.clone()
    }

    fn importance(&self) -> f64 {
        1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(agent: &str, phase: &str, step: &str, text: &str, importance: f64) -> Memory {
        let labels = [("agent", agent), ("phase", phase), ("step", step), ("kind", "repo.size")];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        Memory { labels, text: text.to_owned(), importance, ..Memory::default() }
    }

    #[test]
    fn findings_are_told_by_phase_and_the_important_ones_first() {
        let memories = [
            memory("nova", "foundation", "cpu", "2 CPUs", 0.5),
            memory("orion", "repository", "secrets", "1 likely\nsecret", 0.95),
        ];
        let finding = tell("A run", &memories);
        assert_eq!((finding.findings, finding.agents), (2, 2));
        let expected = "# A run\n\n2 findings by 2 agents: nova, orion.\n\n## What matters most\n\n\
            - **secrets** (repo.size, orion): 1 likely secret\n\n## foundation\n\n- **cpu** (repo.size, nova): 2 CPUs\n\n\
            ## repository\n\n- **secrets** (repo.size, orion): 1 likely secret\n";
        assert_eq!(finding.markdown, expected);
    }

    #[test]
    fn run_without_findings_has_a_summary() {
        assert_eq!(tell("Empty", &[]).markdown, "# Empty\n\n0 findings by 0 agents: none.\n");
    }
}
