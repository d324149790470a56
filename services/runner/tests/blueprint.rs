//! The plan that is shipped asks only for what the runner can do.

use nova_runner::skills;
use serde_norway::Value;

const PLAN: &str = include_str!("../../../deploy/blueprints/host-and-repo.yaml");

fn steps() -> Vec<Value> {
    let plan: Value = serde_norway::from_str(PLAN).expect("the plan is YAML");
    let phases = plan["spec"]["phases"].as_sequence().expect("a plan has phases");
    phases.iter().flat_map(|phase| phase["steps"].as_sequence().expect("a phase has steps").clone()).collect()
}

#[test]
fn every_step_of_the_shipped_plan_has_a_skill() {
    let blocking = skills::ALL.iter().map(|(kind, _)| *kind);
    let known: Vec<&str> = blocking.chain([skills::mesh_call::KIND, skills::memory_summary::KIND]).collect();
    for step in steps() {
        let kind = step["kind"].as_str().expect("a step has a kind");
        assert!(known.contains(&kind), "{kind} has no skill");
    }
}

#[test]
fn the_shipped_plan_uses_every_skill() {
    let used: Vec<String> =
        steps().iter().filter_map(|step| step["kind"].as_str().map(str::to_owned)).collect();
    for (kind, _) in skills::ALL {
        assert!(used.iter().any(|used| used == kind), "{kind} is in no step");
    }
}
