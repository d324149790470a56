//! Loads a revision into an interpreter, and says where it cannot.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use regorus::utils::limits::ExecutionTimerConfig;

use crate::{Module, Snapshot};

/// The rule that every decision asks for.
pub const ENTRYPOINT: &str = "data.nova.authz.decision";

/// How many steps of an evaluation lie between two looks at the clock.
const STEPS_BETWEEN_TIME_CHECKS: NonZeroU32 = NonZeroU32::new(64).expect("64 is not zero");

/// Why a revision cannot be decided with, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileError {
    /// Id of the module; empty when it is not about one.
    pub module: String,
    /// Line, from 1; 0 when it is not about one.
    pub line: u32,
    /// Column, from 1; 0 when it is not about one.
    pub column: u32,
    /// What is wrong.
    pub message: String,
}

impl CompileError {
    /// An error that has no place.
    pub fn without_place(message: impl Into<String>) -> Self {
        Self { module: String::new(), line: 0, column: 0, message: message.into() }
    }

    /// Reads the place out of regorus's message: `--> module:line:column`, the text, `error: what`.
    pub(crate) fn read(error: &impl fmt::Display, module: &str) -> Self {
        let text = format!("{error:#}");
        let message = text.rsplit("error: ").next().unwrap_or(&text).trim().to_owned();
        let (module, line, column) = place(&text).unwrap_or((module, 0, 0));
        Self { module: module.to_owned(), line, column, message }
    }
}

fn place(text: &str) -> Option<(&str, u32, u32)> {
    let place = text.lines().find_map(|line| line.trim().strip_prefix("--> "))?;
    let (rest, column) = place.rsplit_once(':')?;
    let (module, line) = rest.rsplit_once(':')?;
    Some((module, line.parse().ok()?, column.parse().ok()?))
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.module.as_str(), self.line) {
            ("", _) => f.write_str(&self.message),
            (module, 0) => write!(f, "{module}: {}", self.message),
            (module, line) => write!(f, "{module}:{line}:{}: {}", self.column, self.message),
        }
    }
}

impl std::error::Error for CompileError {}

/// Which modules are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Those that decide.
    Deciding,
    /// Their tests too.
    WithTests,
}

/// An interpreter with a revision in it. `limit` bounds each evaluation.
pub fn load(snapshot: &Snapshot, what: Load, limit: Duration) -> Result<regorus::Engine, CompileError> {
    let mut engine = regorus::Engine::new();
    engine.set_execution_timer_config(ExecutionTimerConfig {
        limit,
        check_interval: STEPS_BETWEEN_TIME_CHECKS,
    });
    engine.set_gather_prints(true);
    for module in snapshot.modules().iter().filter(|module| what == Load::WithTests || !module.is_test()) {
        add(&mut engine, module)?;
    }
    let data = regorus::Value::from_json_str(snapshot.data_json());
    data.and_then(|data| engine.add_data(data)).map_err(|error| CompileError::read(&error, "data.json"))?;
    Ok(engine)
}

fn add(engine: &mut regorus::Engine, module: &Module) -> Result<(), CompileError> {
    engine
        .add_policy(module.id.clone(), module.rego.clone())
        .map(|_package| ())
        .map_err(|error| CompileError::read(&error, &module.id))
}
