//! `memory.summary`: reads back what all agents of the run wrote, and tells it in Markdown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use nova_proto::memory::v1::Memory;
use nova_types::markdown;
use nova_worker::Failure;
use serde::{Deserialize, Serialize};

use super::{Finding, text};
use crate::memory::Notebook;
use crate::step::StepTask;

/// Kind of its tasks.
pub const KIND: &str = "memory.summary";

/// Memories told at most.
const MOST: usize = 1_000;
/// Characters told of one memory, and bytes of Markdown in all; the headings come on top.
const TOLD: usize = 2_000;
const BYTES: usize = 192 << 10;
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
    let mut markdown = format!("# {}\n\n", markdown::inline(title));
    let count = text::count(findings.len() as u64, "finding");
    let by = text::count(agents.len() as u64, "agent");
    write(
        &mut markdown,
        &format!(
            "{count} by {by}: {}.\n",
            text::list(agents.iter().map(|agent| markdown::inline(agent)), 20)
        ),
    );
    let left_out = important(&findings, &mut markdown) + by_phase(&findings, &mut markdown);
    if left_out > 0 {
        write(&mut markdown, &format!("\n{} more than can be told here.\n", text::count(left_out, "line")));
    }
    SummaryFinding { markdown, findings: findings.len(), agents: agents.len() }
}

fn important(findings: &[&Memory], markdown: &mut String) -> u64 {
    let mut first: Vec<&&Memory> = findings.iter().filter(|memory| memory.importance >= IMPORTANT).collect();
    first.sort_by(|a, b| {
        b.importance.total_cmp(&a.importance).then_with(|| label(a, "step").cmp(label(b, "step")))
    });
    if !first.is_empty() {
        write(markdown, "\n## What matters most\n\n");
    }
    lines(first.into_iter().copied(), markdown)
}

/// By name, since phases may run at the same time.
fn by_phase(findings: &[&Memory], markdown: &mut String) -> u64 {
    let mut phases: BTreeMap<&str, Vec<&Memory>> = BTreeMap::new();
    for memory in findings {
        phases.entry(label(memory, "phase")).or_default().push(memory);
    }
    let mut left_out = 0;
    for (phase, mut memories) in phases {
        memories.sort_by_key(|memory| label(memory, "step"));
        let phase = if phase.is_empty() { "Other".to_owned() } else { markdown::inline(phase) };
        write(markdown, &format!("\n## {phase}\n\n"));
        left_out += lines(memories.into_iter(), markdown);
    }
    left_out
}

/// Tells of memories while there is room; answers how many there was none for.
fn lines<'a>(memories: impl Iterator<Item = &'a Memory>, markdown: &mut String) -> u64 {
    let mut left_out = 0;
    for memory in memories {
        let line = line(memory);
        let fits = markdown.len() + line.len() <= BYTES;
        if fits { write(markdown, &line) } else { left_out += 1 }
    }
    left_out
}

/// What a repository or a command said is in it: names may be anything.
fn line(memory: &Memory) -> String {
    let told = markdown::inline(&text::short(&memory.text, TOLD));
    let [step, kind, agent] = ["step", "kind", "agent"].map(|name| markdown::inline(label(memory, name)));
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
    fn names_of_files_are_shown_and_not_obeyed() {
        let text = "3 files: <script>x</script>, [x](http:evil), a`b";
        let told = tell("Run", &[memory("nova", "repository", "size", text, 0.5)]).markdown;
        let expected = "\\<script\\>x\\</script\\>, \\[x\\](http:evil), a\\`b";
        assert!(told.contains(expected), "{told}");
    }

    #[test]
    fn however_much_was_found_the_summary_is_bounded_and_says_so() {
        let long = "x ".repeat(5_000);
        let memories: Vec<Memory> =
            (0..400).map(|n| memory("nova", "p", &format!("s{n}"), &long, 0.5)).collect();
        let told = tell("Run", &memories).markdown;
        assert!(told.len() < BYTES + 1_000 && told.contains("lines more than can be told here"));
    }

    #[test]
    fn run_without_findings_has_a_summary() {
        assert_eq!(tell("Empty", &[]).markdown, "# Empty\n\n0 findings by 0 agents: none.\n");
    }
}
