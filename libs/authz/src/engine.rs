//! Decides with one revision, and remembers what it decided.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use regorus::LimitError;

use crate::compile::{CompileError, ENTRYPOINT};
use crate::evaluators::Evaluators;
use crate::{Answer, Asked, Fault, Snapshot, question};

/// Calls whose results differ from one evaluation to the next: a policy with one of them is not cached.
const IMPURE: [&str; 5] = ["time.now_ns", "rand.", "uuid.", "http.send", "opa.runtime"];

/// One revision, ready to decide.
pub struct Engine {
    snapshot: Arc<Snapshot>,
    evaluators: Evaluators,
    cache: Option<Cache<String, Answer>>,
}

impl Engine {
    /// Compiles a revision. `limit` bounds each evaluation, `cached` the answers that are remembered.
    pub fn new(snapshot: Snapshot, limit: Duration, cached: u64) -> Result<Self, CompileError> {
        let snapshot = Arc::new(snapshot);
        let evaluators = Evaluators::new(Arc::clone(&snapshot), limit)?;
        let cache = is_pure(&snapshot).then(|| Cache::new(cached));
        Ok(Self { snapshot, evaluators, cache })
    }

    /// The revision.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Decides, from memory where the same was asked before. The flag says that it was.
    pub fn decide(&self, asked: &Asked) -> (Answer, bool) {
        self.remembering(|| asked.cache_key(), || self.evaluate(asked))
    }

    /// The same for a call: where the answer is remembered, nothing of the question is copied but its key.
    pub fn decide_call(&self, call: &nova_rpc::Question<'_>) -> (Answer, bool) {
        self.remembering(|| question::call_key(call), || self.evaluate(&Asked::from(call)))
    }

    fn remembering(&self, key: impl FnOnce() -> String, evaluate: impl FnOnce() -> Answer) -> (Answer, bool) {
        let Some(cache) = &self.cache else { return (evaluate(), false) };
        let key = key();
        if let Some(answer) = cache.get(&key) {
            return (answer, true);
        }
        let answer = evaluate();
        if answer.fault.is_none() {
            cache.insert(key, answer.clone());
        }
        (answer, false)
    }

    /// Decides by evaluation. Whatever goes wrong is a denial that says so.
    pub fn evaluate(&self, asked: &Asked) -> Answer {
        let evaluated = self.evaluators.with(|engine| {
            engine.set_input(asked.input());
            let value = engine.eval_rule(ENTRYPOINT.to_owned());
            log_prints(engine);
            value.map_err(|error| (fault_of(error.downcast_ref()), CompileError::read(&error, "")))
        });
        match evaluated.unwrap_or_else(|error| Err((Fault::Broken, error))) {
            Ok(value) => Answer::read(&value),
            Err((fault, error)) => Answer::fault(fault, &format!("the policy failed: {error}")),
        }
    }
}

fn fault_of(limit: Option<&LimitError>) -> Fault {
    if matches!(limit, Some(LimitError::TimeLimitExceeded { .. })) { Fault::Late } else { Fault::Broken }
}

/// What the policy printed goes to the log; else it would gather in the interpreter.
fn log_prints(engine: &mut regorus::Engine) {
    for line in engine.take_prints().unwrap_or_default() {
        tracing::debug!(line, "the policy prints");
    }
}

fn is_pure(snapshot: &Snapshot) -> bool {
    let impure = |rego: &str| IMPURE.iter().any(|call| rego.contains(call));
    !snapshot.modules().iter().any(|module| !module.is_test() && impure(&module.rego))
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("revision", &self.snapshot.revision()).finish_non_exhaustive()
    }
}
