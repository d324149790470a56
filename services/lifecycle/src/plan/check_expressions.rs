//! Expressions of a plan: each is well formed, and names inputs and steps whose results are there.

use std::collections::BTreeSet;

use nova_types::StepId;
use serde_json::Value;

use super::Step;
use super::check::Check;
use crate::expression;

/// Checks every expression; the plan is sound otherwise.
pub(super) fn check(check: &mut Check<'_>) {
    let plan = check.plan;
    for (phase, step) in plan.steps() {
        check_ends(check, step);
        let sources = sources(step);
        if sources.is_empty() {
            continue;
        }
        let visible = check.visible(phase, step);
        let at = check.place(step);
        for (path, source) in sources {
            let field: Vec<&str> = path.iter().map(String::as_str).collect();
            if let Err(error) = expression::check(&source) {
                check.refuse(at, &field, &error.to_string());
                continue;
            }
            for name in expression::steps_in(&source) {
                if let Some(rule) = refusal(check, &visible, &name) {
                    check.refuse(at, &field, &rule);
                }
            }
            for name in expression::inputs_in(&source) {
                if let Some(rule) = refused_input(&plan.spec.input, &name) {
                    check.refuse(at, &field, &rule);
                }
            }
        }
    }
}

/// An expression without an end would be plain text.
fn check_ends(check: &mut Check<'_>, step: &Step) {
    for path in expression::unclosed_in(&step.with) {
        let field: Vec<&str> = ["with"].into_iter().chain(path.iter().map(String::as_str)).collect();
        check.refuse(check.place(step), &field, "`${` without its `}`; a plain one is written `$${`");
    }
}

/// Every expression of a step, with its path.
fn sources(step: &Step) -> Vec<(Vec<String>, String)> {
    let mut sources = expression::expressions_in(&step.with);
    sources.iter_mut().for_each(|(path, _)| path.insert(0, "with".to_owned()));
    sources.extend(step.when.iter().map(|source| (vec!["when".to_owned()], source.clone())));
    sources
}

/// Nothing is known of the inputs of a plan whose schema takes others than it names.
fn refused_input(schema: &Value, name: &str) -> Option<String> {
    let takes_no_other =
        schema["additionalProperties"] == Value::Bool(false) && schema.get("patternProperties").is_none();
    let known = schema["properties"].as_object();
    let is_known = known.is_some_and(|known| known.contains_key(name));
    let names: Vec<_> = known.into_iter().flat_map(|known| known.keys().map(String::as_str)).collect();
    (takes_no_other && !is_known)
        .then(|| format!("there is no input {name:?}; the plan's inputs are: {}", names.join(", ")))
}

fn refusal(check: &Check<'_>, visible: &BTreeSet<&StepId>, name: &str) -> Option<String> {
    if visible.iter().any(|id| id.as_ref() == name) {
        return None;
    }
    if check.steps.keys().any(|id| id.as_ref() == name) {
        return Some(format!("step {name:?} may not have ended: put it in needs"));
    }
    Some(format!("there is no step {name:?}; an id with `-` is written steps[\"an-id\"]"))
}
