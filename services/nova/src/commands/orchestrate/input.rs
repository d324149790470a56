//! The plan, and the input of its run.
//!
//! A value given as `key=value` is JSON when it reads as JSON and the plan does not ask for a
//! string there; otherwise it is text. What the plan's schema gives `"format": "path"` or `"directory"` is made
//! absolute, since it is read by processes that run elsewhere than here; a directory must be there.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Map, Value};

use crate::commands::arguments;
use crate::failure::Misuse;

/// The format of an input that is a directory.
const DIRECTORY: &str = "directory";

/// The input of a run.
#[derive(Debug, Args)]
pub(crate) struct Inputs {
    /// Input of the plan, such as repo=. or run_tests=true; give it again for more.
    #[arg(long, value_name = "KEY=VALUE", value_parser = arguments::pair)]
    input: Vec<(String, String)>,
    /// File with a JSON object of inputs; --input wins over it.
    #[arg(long, value_name = "JSON")]
    input_file: Option<String>,
}

impl Inputs {
    /// Whether there is any.
    pub(crate) fn are_given(&self) -> bool {
        !self.input.is_empty() || self.input_file.is_some()
    }

    /// The input object for `plan`, the text of a plan.
    pub(crate) fn gather(&self, plan: &str) -> anyhow::Result<Map<String, Value>> {
        let properties = properties(plan);
        let mut input = self.read_input_file()?;
        for (key, text) in arguments::labels(self.input.clone())? {
            let value = coerce(&text, properties.get(&key));
            input.insert(key, value);
        }
        let here = std::env::current_dir().context("there is no current folder")?;
        make_paths_absolute(&mut input, &properties, &here);
        check_directories(&input, &properties)?;
        Ok(input)
    }

    fn read_input_file(&self) -> anyhow::Result<Map<String, Value>> {
        let Some(path) = &self.input_file else { return Ok(Map::new()) };
        let content = arguments::file(path)?;
        match serde_json::from_slice(&content) {
            Ok(Value::Object(input)) => Ok(input),
            Ok(_) => Err(Misuse::of(format!("{path} must hold a JSON object"))),
            Err(error) => Err(Misuse::of(format!("{path} is no JSON: {error}"))),
        }
    }
}

/// Reads a plan, from standard input for `-`.
pub(crate) fn read_plan(path: &str) -> anyhow::Result<String> {
    arguments::text_of_file(path)
}

/// The schemas of a plan's inputs by name; none when the plan cannot be read, which the
/// lifecycle daemon explains better, with lines.
fn properties(plan: &str) -> Map<String, Value> {
    let plan: Value = serde_norway::from_str(plan).unwrap_or_default();
    plan.pointer("/spec/input/properties").and_then(Value::as_object).cloned().unwrap_or_default()
}

fn coerce(text: &str, schema: Option<&Value>) -> Value {
    if schema.is_some_and(|schema| schema["type"] == "string") {
        return Value::from(text);
    }
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

/// Makes the values, and the defaults, of inputs that are paths absolute.
fn make_paths_absolute(input: &mut Map<String, Value>, properties: &Map<String, Value>, here: &Path) {
    for (name, schema) in
        properties.iter().filter(|(_, schema)| schema["format"] == "path" || schema["format"] == DIRECTORY)
    {
        let given = input.get(name).or_else(|| schema.get("default"));
        if let Some(path) = given.and_then(Value::as_str).filter(|path| !path.is_empty()) {
            let path = absolute(path, here);
            input.insert(name.clone(), Value::from(path));
        }
    }
}

/// Tells of all that are not there.
fn check_directories(input: &Map<String, Value>, properties: &Map<String, Value>) -> Result<(), Misuse> {
    let asked = properties.iter().filter(|(_, schema)| schema["format"] == DIRECTORY);
    let given = asked.filter_map(|(name, _)| Some((name, input.get(name)?.as_str()?)));
    let wrong = given.filter(|(_, path)| !path.is_empty() && !Path::new(path).is_dir());
    let wrong: Vec<_> = wrong
        .map(|(name, path)| format!("--input {name}: {path} is no directory that can be read"))
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(Misuse::new(wrong)) }
}

/// The real path of what exists, and for anything else where it would be.
fn absolute(path: &str, here: &Path) -> String {
    let whole = here.join(path);
    fs::canonicalize(&whole).unwrap_or(whole).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(text: &str, schema: Value, expected: Value) {
        assert_eq!(coerce(text, Some(&schema)), expected, "{text}");
    }

    #[test]
    fn what_reads_as_json_is_json() {
        check("true", json!({"type": "boolean"}), json!(true));
        check("3", json!({}), json!(3));
        check(r#"["a"]"#, json!({}), json!(["a"]));
        check("\"3\"", json!({}), json!("3"));
    }

    #[test]
    fn what_does_not_is_text() {
        check("rust", json!({}), json!("rust"));
        check("", json!({}), json!(""));
        check("1e999", json!({}), json!("1e999"));
        assert_eq!(coerce("a b", None), json!("a b"));
    }

    #[test]
    fn an_input_that_the_plan_wants_as_text_stays_text() {
        check("3", json!({"type": "string"}), json!("3"));
        check("true", json!({"type": "string", "format": "path"}), json!("true"));
    }

    #[test]
    fn paths_and_their_defaults_are_made_absolute() {
        let folder = fs::canonicalize(std::env::temp_dir()).unwrap();
        let plan = "spec: {input: {properties: {repo: {format: path}, out: {format: path, default: no/such}, name: {}}}}";
        let mut input = Map::from_iter([("repo".to_owned(), json!(".")), ("name".to_owned(), json!("."))]);
        make_paths_absolute(&mut input, &properties(plan), &folder);
        assert_eq!(input["repo"], json!(folder.to_str().unwrap()));
        assert_eq!(input["out"], json!(folder.join("no/such").to_str().unwrap()));
        assert_eq!(input["name"], json!("."));
    }

    #[test]
    fn a_directory_must_be_there() {
        let folder = fs::canonicalize(std::env::temp_dir()).unwrap();
        let plan = "spec: {input: {properties: {repo: {format: directory}, other: {format: path}}}}";
        let check = |repo: &str| {
            let mut input =
                Map::from_iter([("repo".to_owned(), json!(repo)), ("other".to_owned(), json!("no/such"))]);
            make_paths_absolute(&mut input, &properties(plan), &folder);
            check_directories(&input, &properties(plan)).map_err(|wrong| wrong.to_string())
        };
        assert_eq!(check("."), Ok(()));
        let missing =
            format!("--input repo: {} is no directory that can be read", folder.join("no/such").display());
        assert_eq!(check("no/such"), Err(missing));
    }

    #[test]
    fn a_plan_that_cannot_be_read_has_no_inputs() {
        assert!(properties("spec: [").is_empty());
        assert!(properties("").is_empty());
    }
}
