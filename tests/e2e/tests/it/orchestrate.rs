//! What a newcomer does first.

use nova_testkit::{Nova, Ran};
use std::net::TcpListener;

use crate::kill::{at_work, begin_with, open_gate};
use crate::run::{blueprint, orchestrate, orchestrated, repository_input};

#[test]
fn a_plan_runs_with_no_mesh() {
    let nova = Nova::new();
    for _ in 0..2 {
        let run = orchestrated(&nova, &[]);
        for part in ["foundation", "rehearsal", "observability", "host", "secret", "fell_back", "denied"] {
            assert!(run.report.to_lowercase().contains(part), "no {part:?} in the report:\n{}", run.report);
        }
        assert!(nova.mesh_file().is_none(), "the mesh went down with the run");
    }
}

#[test]
fn a_run_with_no_mesh_leaves_no_process_behind() {
    let nova = Nova::new();
    let run = begin_with(&nova, &[]);
    let (supervisor, _) = at_work(&nova);
    open_gate(&nova);
    Ran::of(&run.wait_with_output().expect("it is our child")).ok();
    assert_eq!(
        Nova::session(supervisor),
        Vec::<u64>::new(),
        "daemons and agents are in the supervisor's session"
    );
}

#[test]
fn a_report_says_what_was_found_before_how_it_went() {
    let report = orchestrated(&Nova::new(), &[]).report;
    let at = |heading: &str| report.find(heading).unwrap_or_else(|| panic!("no {heading:?} in:\n{report}"));
    let headings =
        ["## What did not go as planned", "## Findings: summary", "## Input", "## Phases", "## Steps"];
    assert!(headings.map(at).is_sorted(), "{report}");
    let rehearsal = report.lines().find(|line| line.starts_with("| rehearsal | ended |"));
    let counted = rehearsal.is_some_and(|row| row.contains("| 2 succeeded, 1 fell_back, 1 denied |"));
    assert!(counted, "{rehearsal:?}");
    assert!(report.contains("Nothing: every step ended as the plan expects."), "{report}");
    assert!(report.contains("| Peak memory |") && report.contains("VmHWM"), "{report}");
}

#[test]
fn the_end_of_a_run_tells_what_matters_most() {
    let told = orchestrate(&Nova::new(), &["--skip", "rehearsal"]).ok();
    let (_, told) = told.split_once("what matters most\n").expect("a part of that name");
    assert!(told.starts_with("  secrets (repo.secrets, lumina): "), "{told}");
}

#[test]
fn a_mesh_comes_up_when_the_default_ports_are_taken() {
    let taken: Vec<_> = (7100..7116).map(|port| TcpListener::bind(("127.0.0.1", port))).collect();
    let nova = Nova::new();
    orchestrated(&nova, &["--skip", "rehearsal"]);
    drop(taken);
}

#[test]
fn the_rehearsal_can_be_left_out() {
    let run = orchestrated(&Nova::new(), &["--skip", "rehearsal"]);
    assert!(!run.report.contains("PERMISSION_DENIED"), "{}", run.report);
}

#[test]
fn records_stay_readable_when_the_mesh_is_gone() {
    let nova = Nova::new();
    let run = orchestrated(&nova, &[]);
    let shown = nova.run(&["workflow", "show", &run.id]).ok();
    assert!(shown.contains("foundation"), "{shown}");
    let step = ["--json", "workflow", "show", &run.id, "--step", "cpu"];
    assert!(nova.run(&step).json()["result"].is_object(), "a step is shown with what it found");
    let trace = nova.run(&["trace", &run.trace]).ok();
    assert!(trace.contains("lifecycle") && trace.contains("queue"), "{trace}");
}

#[test]
fn a_kept_mesh_serves_the_next_run() {
    let nova = Nova::new();
    orchestrated(&nova, &["--keep", "--skip", "rehearsal"]);
    let pid = nova.mesh_file().expect("the mesh was kept")["pid"].clone();
    orchestrated(&nova, &["--skip", "rehearsal"]);
    assert_eq!(nova.mesh_file().expect("it still runs")["pid"], pid);
    nova.run(&["down"]).ok();
    assert!(nova.mesh_file().is_none());
}

#[test]
fn two_meshes_cannot_share_a_home() {
    let nova = Nova::new();
    nova.run(&["up"]).ok();
    let pid = nova.mesh_file().unwrap()["pid"].clone();
    let again = nova.run(&["up"]);
    assert!(again.stderr.contains("runs here already"), "{}", again.stderr);
    assert_eq!(nova.mesh_file().unwrap()["pid"], pid);
}

#[test]
fn a_plan_that_is_wrong_names_its_line_and_runs_nothing() {
    let nova = Nova::new();
    let plan = nova.folder().join("wrong.yaml");
    std::fs::write(
        &plan,
        "apiVersion: nova/v1\nkind: Plan\nmetadata: {name: wrong, version: 1}\nspec:\n  phases: 7\n",
    )
    .unwrap();
    let ran = nova.run(&["orchestrate", plan.to_str().unwrap()]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("wrong.yaml:5"), "{}", ran.stderr);
}

#[test]
fn a_step_that_does_not_end_as_declared_fails_the_run() {
    let nova = Nova::new();
    let text = std::fs::read_to_string(blueprint()).unwrap().replace("expect: denied", "expect: succeeded");
    let plan = nova.folder().join("undeclared.yaml");
    std::fs::write(&plan, text).unwrap();
    let input = repository_input(&nova);
    let ran = nova.run(&["orchestrate", plan.to_str().unwrap(), "--input", &input]);
    assert_eq!(ran.code, 1, "{}\n{}", ran.stdout, ran.stderr);
}

#[test]
fn bad_usage_has_an_exit_code_of_its_own() {
    assert_eq!(Nova::new().run(&["orchestrate"]).code, 2);
    assert_eq!(orchestrate(&Nova::new(), &["--skip", "nonsense"]).code, 2);
    let missing = Nova::new().run(&["orchestrate", &blueprint()]);
    assert_eq!(missing.code, 2);
    assert!(missing.stderr.contains("--input repo: is required"), "{}", missing.stderr);
}

#[test]
fn a_run_and_its_report_end_when_nobody_reads_on() {
    let nova = Nova::new();
    let (plan, input, report) = (blueprint(), repository_input(&nova), nova.folder().join("report.md"));
    let report_path = report.to_str().expect("UTF-8");
    let args =
        ["--json", "orchestrate", &plan, "--skip", "rehearsal", "--input", &input, "--report", report_path];
    let mut run = nova.spawn(&args);
    drop(run.stdout.take());
    assert!(run.wait().expect("it is our child").success());
    assert!(report.exists(), "the report was written");
}

#[test]
fn a_token_in_the_environment_stands_for_the_operator() {
    let nova = Nova::new();
    nova.run(&["up"]).ok();
    let token = nova.run(&["identity", "token", "user/ada", "--role", "viewer"]).ok();
    let code = |token: &str, args: &[&str]| {
        nova.command(args).env("NOVA_TOKEN", token).output().unwrap().status.code()
    };
    assert_eq!(code(&token, &["queue", "ls"]), Some(0));
    assert_eq!(code(&token, &["queue", "enqueue", "q", "k"]), Some(4));
    assert_eq!(code("nonsense", &["queue", "ls"]), Some(4));
}
