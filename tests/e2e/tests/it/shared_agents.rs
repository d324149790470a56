//! Agents belong to the mesh, not to a run: runs that share them do not get in each other's way.

use std::process::Child;
use std::time::Duration;

use nova_testkit::{Nova, eventually};

use crate::run::{blueprint, repository_input};

/// Longest that two runs at once may take.
const PATIENCE: Duration = Duration::from_secs(180);

#[test]
fn two_runs_at_once_that_share_agents_both_end_well() {
    let nova = Nova::new();
    nova.run(&["up"]).ok();
    let input = repository_input(&nova);
    let start = || nova.spawn(&["orchestrate", &blueprint(), "--input", &input]);
    let runs = [start(), start()];
    runs.into_iter().for_each(ends_well);
}

#[track_caller]
fn ends_well(mut run: Child) {
    let code = eventually("the run ended", PATIENCE, || run.try_wait().expect("it is our child"));
    let output = run.wait_with_output().expect("it has ended");
    let texts = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(code.success(), "{}\n{}", texts.0, texts.1);
}
