//! The text of a plan: YAML or JSON, its shape checked by the schema, its lines known.

use std::sync::LazyLock;

use jsonschema::Validator;
use nova_types::{Violation, Violations};
use serde_json::{Value, json};

use super::{MAX_PLAN_BYTES, Plan, SCHEMA, lines};

/// Violations that are reported at most; a text full of errors says little more.
const MAX_VIOLATIONS: usize = 50;

static SHAPE: LazyLock<Validator> = LazyLock::new(|| {
    let schema: Value = serde_json::from_str(SCHEMA).expect("the published schema is JSON");
    jsonschema::validator_for(&schema).expect("the published schema is a schema")
});

/// A text that obeys the schema.
#[derive(Debug)]
pub(super) struct Document<'a> {
    text: &'a str,
    file: &'a str,
    value: Value,
}

impl<'a> Document<'a> {
    /// Reads the text, and checks it against the schema.
    pub(super) fn read(text: &'a str, file: &'a str) -> Result<Self, Violations> {
        let file = if file.is_empty() { "plan" } else { file };
        if text.len() > MAX_PLAN_BYTES {
            let rule = format!("{} bytes must be at most {MAX_PLAN_BYTES}", text.len());
            return Err(Violation::new("plan", rule).into());
        }
        let value = read_value(text, file)?;
        let document = Self { text, file, value };
        document.check_shape()?;
        Ok(document)
    }

    /// The plan in it, defaults filled in.
    pub(super) fn plan(&self) -> Result<Plan, Violations> {
        let mut value = self.value.clone();
        fill_phase_needs(&mut value);
        serde_json::from_value(value).map_err(|error| self.violation(&[], &error.to_string()).into())
    }

    /// A violation of `rule` at a path, with its line.
    pub(super) fn violation(&self, path: &[String], rule: &str) -> Violation {
        let line = lines::line_of(self.text, path);
        let field = if path.is_empty() { "plan".to_owned() } else { dotted(path) };
        Violation::new(field, format!("{}:{line}: {rule}", self.file))
    }

    fn check_shape(&self) -> Result<(), Violations> {
        let mut violations = Violations::new();
        for error in SHAPE.iter_errors(&self.value).take(MAX_VIOLATIONS) {
            let path = segments(&error.instance_path().to_string());
            violations.push(self.violation(&path, &shortened(&error.to_string())));
        }
        violations.finish()
    }
}

fn read_value(text: &str, file: &str) -> Result<Value, Violations> {
    if let Ok(value @ Value::Object(_)) = serde_json::from_str(text) {
        return Ok(value);
    }
    let value = serde_norway::from_str::<serde_norway::Value>(text).map_err(|error| {
        let line = error.location().map_or(1, |location| location.line());
        Violation::new("plan", format!("{file}:{line}: {error}"))
    })?;
    let keys = |error| Violation::new("plan", format!("{file}:1: keys must be text: {error}"));
    Ok(serde_json::to_value(value).map_err(keys)?)
}

/// A phase needs the one before it, unless it says what it needs.
fn fill_phase_needs(plan: &mut Value) {
    let Some(phases) = plan.pointer_mut("/spec/phases").and_then(Value::as_array_mut) else { return };
    let mut before: Option<Value> = None;
    for phase in phases.iter_mut().filter_map(Value::as_object_mut) {
        phase.entry("needs").or_insert_with(|| json!(before.iter().collect::<Vec<_>>()));
        before = phase.get("name").cloned();
    }
}

fn segments(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|segment| segment.replace("~1", "/").replace("~0", "~")).collect()
}

/// `spec.phases[0].steps[2].kind`.
fn dotted(path: &[String]) -> String {
    let mut field = String::new();
    for segment in path {
        if segment.parse::<usize>().is_ok() {
            field.push_str(&format!("[{segment}]"));
        } else {
            field.push_str(if field.is_empty() { "" } else { "." });
            field.push_str(segment);
        }
    }
    field
}

/// A message without a whole document in it.
fn shortened(message: &str) -> String {
    const MAX: usize = 240;
    match message.char_indices().nth(MAX) {
        None => message.to_owned(),
        Some(_) => {
            let tail: String = message.chars().rev().take(MAX / 2).collect();
            let head: String = message.chars().take(MAX / 2).collect();
            format!("{head} … {}", tail.chars().rev().collect::<String>())
        }
    }
}
