//! One run of the blueprint on a fixture, and what is read from it.

use std::fs;
use std::path::PathBuf;

use nova_testkit::{Nova, Ran, repository};

/// The plan that a newcomer runs.
pub(crate) fn blueprint() -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join("deploy/blueprints/host-and-repo.yaml").display().to_string()
}

/// A run that has ended well.
pub(crate) struct Run {
    pub(crate) report: String,
    pub(crate) trace: String,
    pub(crate) id: String,
}

/// The `repo` input: a fixture beside the home.
pub(crate) fn repository_input(nova: &Nova) -> String {
    let folder = nova.folder().join("fixture repo");
    if !folder.exists() {
        repository::make(&folder);
    }
    format!("repo={}", folder.display())
}

/// Runs the blueprint on a fixture repository.
pub(crate) fn orchestrate(nova: &Nova, extra: &[&str]) -> Ran {
    let (plan, input, report) = (blueprint(), repository_input(nova), report_path(nova));
    let report = report.display().to_string();
    let mut args = vec!["orchestrate", &plan, "--input", &input, "--report", &report];
    args.extend(extra);
    nova.run(&args)
}

/// The same, and it must end well.
#[track_caller]
pub(crate) fn orchestrated(nova: &Nova, extra: &[&str]) -> Run {
    orchestrate(nova, extra).ok();
    let report = fs::read_to_string(report_path(nova)).expect("--report was written");
    let trace = word_of(&report, 32).expect("the report names its trace");
    let id = word_of(&report, 36).expect("the report names its run");
    Run { report, trace, id }
}

pub(crate) fn report_path(nova: &Nova) -> PathBuf {
    nova.folder().join("report.md")
}

/// The first word of hex digits and dashes that is so long.
fn word_of(text: &str, length: usize) -> Option<String> {
    let hex = |c: char| c.is_ascii_hexdigit() || c == '-';
    text.split(|c| !hex(c)).find(|word| word.len() == length).map(str::to_owned)
}
