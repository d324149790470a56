//! A node that runs as many processes as it may: what needs another place waits, says so, and has its turn.

use std::fs;

use nova_testkit::{Nova, Ran};

/// Two phases that could run at once, each with an agent of its own, and one that needs both.
const TWO_AGENTS: &str = r#"
apiVersion: nova/v1
kind: Plan
metadata: {name: two-agents}
spec:
  timeout: 2m
  agents:
    one: {role: worker, capabilities: [first]}
    two: {role: worker, capabilities: [second]}
  phases:
    - name: left
      agents: [one]
      steps: [{id: l, kind: shell, capability: first, with: {run: 'sleep 3'}}]
    - name: right
      needs: []
      agents: [two]
      steps: [{id: r, kind: shell, capability: second, with: {run: 'sleep 3'}}]
    - name: end
      needs: [left, right]
      agents: [one]
      steps: [{id: e, kind: shell, capability: first, with: {run: 'true'}}]
"#;

#[test]
fn a_phase_waits_for_a_place_on_the_node_and_says_so() {
    let nova = Nova::new();
    let plan = nova.folder().join("two-agents.yaml");
    fs::write(&plan, TWO_AGENTS).expect("a temporary folder can be written to");
    let mut command = nova.command(&["orchestrate", plan.to_str().expect("the path is text")]);
    command.env("NOVA_NODE__MAX_PROCESSES", "1");
    let told = Ran::of(&command.output().expect("nova runs")).ok();
    let waits: Vec<_> = told.lines().filter(|line| line.contains("  waits: ")).collect();
    assert!(waits.len() == 1 && waits[0].contains("processes run on this node"), "{told}");
}
