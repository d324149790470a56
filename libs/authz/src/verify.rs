//! What a revision must show before it may be activated: it compiles, it answers, and its
//! own tests pass.

use std::time::Duration;

use nova_types::TrustDomain;

use crate::compile::{self, CompileError, ENTRYPOINT, Load};
use crate::config::EVALUATION_LIMIT_MS;
use crate::essentials::check_essentials;
use crate::{Answer, Asked, Engine, LockedOut, Snapshot};

/// Longest time for one test rule.
const TEST_LIMIT: Duration = Duration::from_secs(2);

/// Longest time for one of the essential questions: as long as a daemon takes by default.
const ESSENTIAL_LIMIT: Duration = Duration::from_millis(EVALUATION_LIMIT_MS);

/// Why a revision may not be activated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It does not compile.
    #[error("{0}")]
    Compile(CompileError),
    /// It compiles, but gives no decision.
    #[error("{ENTRYPOINT} gives no decision: {0}")]
    NoDecision(String),
    /// Its own tests fail; each by name, with its error where it had one.
    #[error("tests fail: {}", .0.join(", "))]
    Tests(Vec<String>),
    /// Nobody could put another in its place.
    #[error("{0}")]
    LocksOut(LockedOut),
}

/// Compiles, asks a question, runs every rule `test_*`. Answers how many tests passed.
pub fn verify(snapshot: &Snapshot) -> Result<usize, Refusal> {
    answers(snapshot)?;
    run_tests(snapshot)
}

/// Whether the revision allows what the mesh cannot be mended without; see [`check_essentials`].
pub fn verify_essentials(snapshot: &Snapshot, domain: &TrustDomain) -> Result<(), Refusal> {
    let engine = Engine::new(snapshot.clone(), ESSENTIAL_LIMIT, 0).map_err(Refusal::Compile)?;
    check_essentials(&engine, domain).map_err(Refusal::LocksOut)
}

/// Asks a question that any policy must have an answer to: an anonymous call of no method.
fn answers(snapshot: &Snapshot) -> Result<(), Refusal> {
    let mut engine = compile::load(snapshot, Load::Deciding, TEST_LIMIT).map_err(Refusal::Compile)?;
    engine.set_input(Asked::default().input());
    match engine.eval_rule(ENTRYPOINT.to_owned()) {
        Ok(value) if Answer::read(&value).fault.is_some() => {
            Err(Refusal::NoDecision(format!("an anonymous call is answered {value}, not {{allow, why}}")))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(no_decision(&CompileError::read(&error, ""))),
    }
}

/// regorus finds some errors of a text only when it first runs it; those have a place.
fn no_decision(error: &CompileError) -> Refusal {
    if error.line > 0 { Refusal::Compile(error.clone()) } else { Refusal::NoDecision(error.to_string()) }
}

fn run_tests(snapshot: &Snapshot) -> Result<usize, Refusal> {
    let mut engine = compile::load(snapshot, Load::WithTests, TEST_LIMIT).map_err(Refusal::Compile)?;
    let tests = test_rules(&mut engine)?;
    let mut failed = Vec::new();
    for test in &tests {
        match engine.eval_rule(test.clone()) {
            Ok(value) if value == regorus::Value::from(true) => {}
            Ok(_) => failed.push(test.clone()),
            Err(error) => failed.push(format!("{test} ({})", CompileError::read(&error, ""))),
        }
    }
    if failed.is_empty() { Ok(tests.len()) } else { Err(Refusal::Tests(failed)) }
}

/// Paths of all rules whose name begins with `test_`, sorted.
fn test_rules(engine: &mut regorus::Engine) -> Result<Vec<String>, Refusal> {
    let compiled = engine
        .compile_with_entrypoint(&ENTRYPOINT.into())
        .map_err(|error| Refusal::Compile(CompileError::read(&error, "")))?;
    let is_test = |path: &&String| path.rsplit('.').next().is_some_and(|name| name.starts_with("test_"));
    let mut tests: Vec<String> = compiled.get_rules().keys().filter(is_test).cloned().collect();
    tests.sort_unstable();
    Ok(tests)
}
