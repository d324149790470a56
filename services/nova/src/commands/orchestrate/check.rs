//! What can be known to be wrong with a run before a mesh is brought up for it. The lifecycle daemon
//! checks the same once more; here it is told in the words of the command line.

use nova_lifecycle::plan::{self, Plan};
use nova_types::Violation;
use serde_json::Value;

use crate::failure::Misuse;

/// Checks a plan, its input, and the phases that are left out. `file` is the plan's name.
pub(super) fn check(text: &str, file: &str, input: &Value, skip: &[String]) -> Result<(), Misuse> {
    let told = |violation: Violation| violation.to_string();
    let plan = plan::parse(text, file)
        .map_err(|violations| Misuse::new(violations.into_iter().map(told).collect()))?;
    let mut wrong: Vec<_> = skip.iter().filter_map(|phase| unknown_phase(&plan, phase)).collect();
    if let Err(violations) = plan::check_input("--input", &plan, input.clone()) {
        wrong.extend(violations.into_iter().map(|violation| wrong_input(&violation)));
    }
    if wrong.is_empty() { Ok(()) } else { Err(Misuse::new(wrong)) }
}

fn unknown_phase(plan: &Plan, phase: &str) -> Option<String> {
    let phases: Vec<_> = plan.spec.phases.iter().map(|phase| phase.name.as_str()).collect();
    let unknown = !phases.contains(&phase);
    unknown.then(|| format!("--skip {phase}: the plan's phases are {}", phases.join(", ")))
}

/// `--input repo: …` for a value that breaks a rule or is missing.
fn wrong_input(violation: &Violation) -> String {
    if let Some(name) = violation.rule.strip_suffix(" is a required property") {
        return format!("{} {}: is required", violation.field, name.trim_matches('"'));
    }
    match violation.field.split_once('.') {
        Some((flag, name)) => format!("{flag} {name}: {}", violation.rule),
        None => violation.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PLAN: &str = "{apiVersion: nova/v1, kind: Plan, metadata: {name: p}, spec: {
        input: {type: object, required: [repo], properties: {repo: {type: string}, n: {type: integer}}},
        agents: {one: {role: worker, capabilities: [work]}},
        phases: [{name: only, agents: [one], steps: [{id: a, agent: one, kind: shell, with: {command: [ls]}}]}]}}";

    #[track_caller]
    fn check_refused(input: Value, skip: &[String], told: &str) {
        let refused = check(PLAN, "p.yaml", &input, skip).unwrap_err().to_string();
        assert!(refused.contains(told), "{refused}");
    }

    #[test]
    fn wrong_input_is_told_by_its_flag() {
        check_refused(json!({}), &[], "--input repo: is required");
        check_refused(json!({"repo": ".", "n": "x"}), &[], "--input n: \"x\" is not of type");
    }

    #[test]
    fn a_phase_that_the_plan_lacks_is_told_with_those_it_has() {
        check_refused(json!({"repo": "."}), &["two".to_owned()], "--skip two: the plan's phases are only");
    }
}
