//! The engine: whatever goes wrong is a denial that says so.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::time::Duration;

use nova_authz::{Asked, CompileError, Engine, Fault, Module, Refusal, Snapshot, verify};

const LIMIT: Duration = Duration::from_millis(200);

fn snapshot(modules: &[(&str, &str)]) -> Snapshot {
    let module = |(id, rego): &(&str, &str)| Module { id: (*id).to_owned(), rego: (*rego).to_owned() };
    Snapshot::new(modules.iter().map(module).collect(), r#"{"open": true}"#).unwrap()
}

fn engine(rego: &str) -> Result<Engine, CompileError> {
    Engine::new(snapshot(&[("authz.rego", rego)]), LIMIT, 100)
}

fn why(rego: &str) -> String {
    let answer = engine(rego).unwrap().evaluate(&Asked::default());
    assert!(!answer.allow);
    answer.why.to_string()
}

#[test]
fn an_undefined_decision_is_a_denial() {
    assert_eq!(
        why("package nova.authz\ndecision := {\"allow\": true, \"why\": \"x\"} if input.subject == \"me\""),
        "the policy answered nothing"
    );
}

#[test]
fn an_evaluation_that_breaks_is_a_denial_with_its_place() {
    let why = why("package nova.authz\ndecision := {\"allow\": true} if input.no(1)\n");
    assert!(why.starts_with("the policy failed"), "{why}");
}

#[test]
fn an_evaluation_that_runs_too_long_is_a_denial_that_says_so() {
    let rego = "package nova.authz\n\
        decision := {\"allow\": true, \"why\": \"x\"} if {\n\
        count([1 | some a in numbers.range(1, 3000); some b in numbers.range(1, 3000); a == b]) > 0\n}\n";
    let answer = engine(rego).unwrap().evaluate(&Asked::default());
    assert_eq!((answer.allow, answer.fault), (false, Some(Fault::Late)));
    assert!(answer.why.starts_with("the policy failed"), "{}", answer.why);
}

#[test]
fn a_text_that_does_not_parse_is_refused_with_module_line_and_column() {
    let error = engine("package nova.authz\n\ndecision := {\"allow\": true,,}\n").unwrap_err();
    assert_eq!((error.module.as_str(), error.line), ("authz.rego", 3));
    assert!(error.column > 0);
}

#[test]
fn the_second_of_two_equal_questions_is_remembered() {
    let engine =
        engine("package nova.authz\ndecision := {\"allow\": true, \"why\": \"open\"} if data.open").unwrap();
    let (first, remembered) = engine.decide(&Asked::default());
    assert!(first.allow && !remembered);
    assert_eq!(engine.decide(&Asked::default()), (first, true));
}

#[test]
fn a_policy_that_looks_at_the_clock_is_not_remembered() {
    let engine =
        engine("package nova.authz\ndecision := {\"allow\": time.now_ns() > 0, \"why\": \"x\"}").unwrap();
    engine.decide(&Asked::default());
    assert!(!engine.decide(&Asked::default()).1);
}

#[test]
fn a_revision_whose_test_fails_is_refused_by_the_name_of_the_test() {
    let decision = "package nova.authz\ndecision := {\"allow\": true, \"why\": \"x\"}";
    let test = "package nova.authz_test\nimport data.nova.authz\n\
        test_nobody_may if not authz.decision.allow\ntest_somebody_may if authz.decision.allow";
    let refused = verify(&snapshot(&[("authz.rego", decision), ("authz_test.rego", test)]));
    assert_eq!(refused, Err(Refusal::Tests(vec!["data.nova.authz_test.test_nobody_may".to_owned()])));
}

#[test]
fn a_revision_without_a_decision_is_refused() {
    let refused = verify(&snapshot(&[("other.rego", "package other\nx := 1")]));
    assert!(matches!(refused, Err(Refusal::NoDecision(_))), "{refused:?}");
}
