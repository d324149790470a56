//! Why a decision fell: the question is put to its revision again, and every rule that was
//! looked at is listed with what came of it.

use std::time::Duration;

use nova_authz::{Asked, CompileError, ENTRYPOINT, Load, Module, Snapshot, load};
use regorus::coverage::{File, Report};

use crate::rules::{self, Reached, Rule, Split};

const LIMIT: Duration = Duration::from_secs(5);
/// More lines than a person reads.
const MOST_LINES: usize = 500;

/// A rule, or a condition of it, that took part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RuleTrace {
    pub(crate) module: String,
    /// From 1.
    pub(crate) line: u32,
    pub(crate) text: String,
    /// Whether it was reached and held.
    pub(crate) held: bool,
}

/// Why, and what would change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Explanation {
    pub(crate) rules: Vec<RuleTrace>,
    pub(crate) remedy: String,
}

/// Puts the question to the revision again.
pub(crate) fn explain(snapshot: &Snapshot, asked: &Asked) -> Result<Explanation, CompileError> {
    let splits: Vec<(&Module, Split)> = snapshot
        .modules()
        .iter()
        .filter(|module| !module.is_test())
        .map(|m| (m, rules::split(&m.rego)))
        .collect();
    let split =
        |(module, split): &(&Module, Split)| Module { id: module.id.clone(), rego: split.rego.clone() };
    let altered = Snapshot::new(splits.iter().map(split).collect(), snapshot.data_json());
    let altered = altered.map_err(|error| CompileError::without_place(error.to_string()))?;
    let (remedy, report) = evaluate(&altered, asked)?;
    let mut rules: Vec<RuleTrace> = Vec::new();
    for (module, split) in &splits {
        if let Some(file) = report.files.iter().find(|file| file.path == module.id) {
            rules.extend(traces(module, split, file, asked));
        }
    }
    rules.truncate(MOST_LINES);
    Ok(Explanation { rules, remedy })
}

fn evaluate(snapshot: &Snapshot, asked: &Asked) -> Result<(String, Report), CompileError> {
    let failed = |error: &dyn std::fmt::Display| CompileError::without_place(error.to_string());
    let mut engine = load(snapshot, Load::Deciding, LIMIT)?;
    engine.set_enable_coverage(true);
    engine.set_input(asked.input());
    let remedy = match engine.eval_rule(ENTRYPOINT.to_owned()) {
        Ok(value) => remedy(&value),
        Err(error) => format!("the policy itself must be mended: {error:#}"),
    };
    let report = engine.get_coverage_report().map_err(|error| failed(&error))?;
    Ok((remedy, report))
}

fn remedy(value: &regorus::Value) -> String {
    match (value["remedy"].as_string(), value["allow"].as_bool()) {
        (Ok(remedy), _) => remedy.to_string(),
        (_, Ok(true)) => "it would be denied if none of the rules that held did".to_owned(),
        _ => "the policy names no remedy: one of the rules that did not hold would have to".to_owned(),
    }
}

fn traces(module: &Module, split: &Split, file: &File, asked: &Asked) -> Vec<RuleTrace> {
    let reached = Reached { yes: file.covered.clone(), no: file.not_covered.clone() };
    let rules = split.rules();
    let gave: Vec<&str> =
        rules.iter().filter(|rule| !rule.default && rule.held(&reached)).map(|r| r.name.as_str()).collect();
    let took_part =
        |rule: &&Rule| rule.was_reached(&reached) && !(rule.default && gave.contains(&rule.name.as_str()));
    let mut traces: Vec<RuleTrace> = Vec::new();
    for rule in rules.iter().filter(took_part) {
        for line in rule.lines() {
            if let Some(trace) = trace(module, split, rule, line, &reached, asked)
                && traces.last().is_none_or(|last| last.line != trace.line)
            {
                traces.push(trace);
            }
        }
    }
    traces
}

/// One line; none when there is nothing to tell of it.
fn trace(
    module: &Module,
    split: &Split,
    rule: &Rule,
    line: u32,
    reached: &Reached,
    asked: &Asked,
) -> Option<RuleTrace> {
    let original = split.original(line);
    let index = usize::try_from(original).ok()?.checked_sub(1)?;
    let text = module.rego.lines().nth(index)?.trim();
    let is_head = line == rule.head;
    if !is_head && !reached.yes.contains(&line) && !reached.no.contains(&line) {
        return None;
    }
    if !rule.conditional && !is_head && !text.contains(&asked.method) {
        return None;
    }
    let held = if is_head {
        rule.held(reached)
    } else {
        reached.yes.contains(&line) && rule.line_held(line, reached)
    };
    Some(RuleTrace { module: module.id.clone(), line: original, text: text.to_owned(), held })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::default_policy::default_policy;

    fn asked(role: &str) -> Asked {
        Asked {
            subject: "spiffe://nova.local/agent/orion".to_owned(),
            roles: vec![role.to_owned()],
            credential: nova_rpc::Credential::Certificate,
            service: "queue".to_owned(),
            method: "nova.queue.v1.QueueService/Enqueue".to_owned(),
        }
    }

    fn held(explanation: &Explanation, text: &str) -> bool {
        let found = explanation.rules.iter().find(|rule| rule.text.contains(text));
        found.unwrap_or_else(|| panic!("{text} in {:#?}", explanation.rules)).held
    }

    #[test]
    fn a_denial_lists_the_rule_that_did_not_hold_and_the_line_of_the_table() {
        let explanation = explain(&default_policy(), &asked("agent")).unwrap();
        assert!(held(&explanation, "\"nova.queue.v1.QueueService/Enqueue\": {"));
        assert!(held(&explanation, "some role in permitted[input.method]"));
        assert!(!held(&explanation, "granted contains sprintf(\"the role"));
        assert!(!held(&explanation, "decision := {\"allow\": true"));
        assert!(held(&explanation, "decision := {\"allow\": false, \"why\": why_denied"));
        assert!(explanation.remedy.contains("developer, lifecycle, operator, worker"));
        assert!(explanation.rules.len() < 40, "{:#?}", explanation.rules);
    }

    #[test]
    fn an_allowed_call_lists_the_rule_that_held() {
        let explanation = explain(&default_policy(), &asked("worker")).unwrap();
        assert!(held(&explanation, "granted contains sprintf(\"the role"));
        assert!(held(&explanation, "decision := {\"allow\": true"));
        assert!(!held(&explanation, "decision := {\"allow\": false, \"why\": why_denied"));
    }

    #[test]
    fn the_lines_are_those_of_the_module() {
        let explanation = explain(&default_policy(), &asked("agent")).unwrap();
        let policy = default_policy();
        let lines: Vec<&str> = policy.modules()[0].rego.lines().collect();
        for rule in explanation.rules {
            assert_eq!(lines[rule.line as usize - 1].trim(), rule.text);
        }
    }
}
