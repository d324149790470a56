//! The input of a run: defaults from the plan's schema, then its rules.

use nova_types::{Violation, Violations};
use serde_json::Value;

use super::Plan;

/// Largest input, in bytes.
const MAX_INPUT_BYTES: usize = 256 << 10;

/// Reads an input; empty text means `{}`.
pub fn parse_input(field: &str, text: &str) -> Result<Value, Violation> {
    if text.is_empty() {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    if text.len() > MAX_INPUT_BYTES {
        return Err(Violation::new(field, format!("{} bytes must be at most {MAX_INPUT_BYTES}", text.len())));
    }
    match serde_json::from_str(text) {
        Ok(input @ Value::Object(_)) => Ok(input),
        Ok(_) => Err(Violation::new(field, "must be a JSON object")),
        Err(error) => Err(Violation::new(field, format!("must be a JSON object: {error}"))),
    }
}

/// The input with the plan's defaults, when it obeys the plan's schema of it.
pub fn check_input(field: &str, plan: &Plan, mut input: Value) -> Result<Value, Violations> {
    fill_defaults(&plan.spec.input, &mut input);
    let rules = jsonschema::validator_for(&plan.spec.input)
        .map_err(|error| Violation::new("spec.input", error.to_string()))?;
    let mut violations = Violations::new();
    for error in rules.iter_errors(&input).take(50) {
        let path = error.instance_path().to_string().replace('/', ".");
        violations.push(Violation::new(format!("{field}{path}"), error.to_string()));
    }
    violations.finish()?;
    Ok(input)
}

/// Puts the `default` of each property where the input has none.
fn fill_defaults(schema: &Value, value: &mut Value) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    let Some(object) = value.as_object_mut() else { return };
    for (name, rules) in properties {
        if let (false, Some(default)) = (object.contains_key(name), rules.get("default")) {
            object.insert(name.clone(), default.clone());
        }
        if let Some(inner) = object.get_mut(name) {
            fill_defaults(rules, inner);
        }
    }
}
