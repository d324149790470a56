//! Expressions of plans, in the Common Expression Language: `when` is one, and a text in `with`
//! holds some as `${…}`. They see `input`, `run` and `steps`, and nothing of the machine.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};

use cel::{Context, Env, Program};
use regex::Regex;
use serde_json::Value;

static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

static STEP: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r#"\bsteps(?:\.([A-Za-z_][A-Za-z0-9_]*)|\[\s*(?:"([^"]*)"|'([^']*)')\s*\])"#;
    Regex::new(pattern).expect("the pattern is a constant")
});

static INPUT: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r#"(?:^|[^.\w])input(?:\.([A-Za-z_][A-Za-z0-9_]*)|\[\s*(?:"([^"]*)"|'([^']*)')\s*\])"#;
    Regex::new(pattern).expect("the pattern is a constant")
});

/// Longest expression, in bytes.
const MAX_BYTES: usize = 1_024;

/// Deepest nesting of brackets: the parser descends once for each.
const MAX_DEPTH: usize = 32;

/// Why an expression gave no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expression `{expression}`: {why}")]
pub struct Error {
    expression: String,
    why: String,
}

/// What expressions see.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Input of the run.
    pub input: Value,
    /// The run: `id` and `plan`.
    pub run: Value,
    /// Steps by id: `state`, `result`, `error`.
    pub steps: BTreeMap<String, Value>,
}

/// A part of a text with expressions in it.
#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    Text(&'a str),
    Expression(&'a str),
}

/// Checks that it is an expression.
pub fn check(source: &str) -> Result<(), Error> {
    compile(source).map(|_| ())
}

/// Steps that an expression names.
pub fn steps_in(source: &str) -> BTreeSet<String> {
    names_in(&STEP, source)
}

/// Inputs that an expression names.
pub fn inputs_in(source: &str) -> BTreeSet<String> {
    names_in(&INPUT, source)
}

fn names_in(pattern: &Regex, source: &str) -> BTreeSet<String> {
    let found = pattern.captures_iter(source);
    let names = found.filter_map(|found| (1..=3).find_map(|group| found.get(group)));
    names.map(|name| name.as_str().to_owned()).collect()
}

/// Every expression in a value, with the path to its text.
pub fn expressions_in(value: &Value) -> Vec<(Vec<String>, String)> {
    let mut texts = Vec::new();
    collect(value, &mut Vec::new(), &mut texts);
    let expression = |part| match part {
        Part::Expression(source) => Some(source.to_owned()),
        Part::Text(_) => None,
    };
    let expressions = |(path, text): (Vec<String>, _)| {
        parts(text).into_iter().filter_map(expression).map(move |source| (path.clone(), source))
    };
    texts.into_iter().flat_map(expressions).collect()
}

/// Every text in a value with a `${` that no `}` ends, by its path.
pub fn unclosed_in(value: &Value) -> Vec<Vec<String>> {
    let mut texts = Vec::new();
    collect(value, &mut Vec::new(), &mut texts);
    texts.into_iter().filter(|(_, text)| is_unclosed(text)).map(|(path, _)| path).collect()
}

fn is_unclosed(text: &str) -> bool {
    let begins = |part: Part<'_>| matches!(part, Part::Text(text) if text.replace("$${", "").contains("${"));
    parts(text).into_iter().any(begins)
}

/// Whether a condition holds.
pub fn holds(source: &str, scope: &Scope) -> Result<bool, Error> {
    let value = evaluate(source, scope)?;
    value.as_bool().ok_or_else(|| error(source, format!("must give true or false, and gave {value}")))
}

/// The value with every `${…}` replaced. A text that is exactly one `${…}` becomes its value, of its
/// own type; in a longer text the value is written out. `$${` is a plain `${`.
pub fn render(value: &Value, scope: &Scope) -> Result<Value, Error> {
    Ok(match value {
        Value::String(text) => render_text(text, scope)?,
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| render(item, scope)).collect::<Result<_, _>>()?)
        }
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| Ok((name.clone(), render(value, scope)?));
            Value::Object(fields.iter().map(field).collect::<Result<_, Error>>()?)
        }
        plain => plain.clone(),
    })
}

fn render_text(text: &str, scope: &Scope) -> Result<Value, Error> {
    let parts = parts(text);
    if let [Part::Expression(source)] = parts[..] {
        return evaluate(source, scope);
    }
    let mut written = String::new();
    for part in parts {
        match part {
            Part::Text(text) => written.push_str(&text.replace("$${", "${")),
            Part::Expression(source) => match evaluate(source, scope)? {
                Value::String(text) => written.push_str(&text),
                other => written.push_str(&other.to_string()),
            },
        }
    }
    Ok(Value::String(written))
}

fn compile(source: &str) -> Result<Program, Error> {
    if source.len() > MAX_BYTES {
        return Err(error("…", format!("{} bytes must be at most {MAX_BYTES}", source.len())));
    }
    if depth(source) > MAX_DEPTH {
        return Err(error(source, format!("brackets must be nested at most {MAX_DEPTH} deep")));
    }
    ENV.compile(source).map_err(|errors| {
        let why: Vec<&str> = errors.errors.iter().map(|error| error.msg.as_str()).collect();
        error(source, why.join("; "))
    })
}

fn depth(source: &str) -> usize {
    let mut depth = 0_usize;
    let mut deepest = 0;
    for character in source.chars() {
        match character {
            '(' | '[' | '{' | '!' | '-' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn evaluate(source: &str, scope: &Scope) -> Result<Value, Error> {
    let program = compile(source)?;
    let mut context = Context::with_env(Arc::clone(&ENV));
    context.add_variable_from_value("input", to_cel(&scope.input));
    context.add_variable_from_value("run", to_cel(&scope.run));
    context.add_variable_from_value("steps", map(scope.steps.iter()));
    let value = program.execute(&context).map_err(|why| error(source, why.to_string()))?;
    value.json().map_err(|_| error(source, "gives a value that JSON cannot hold".to_owned()))
}

/// JSON as expressions see it: whole numbers are `int`, so that `count + 1` means what it says.
fn to_cel(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(flag) => cel::Value::Bool(*flag),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => cel::Value::Int(whole),
            None => cel::Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => cel::Value::from(text.as_str()),
        Value::Array(items) => cel::Value::from(items.iter().map(to_cel).collect::<Vec<_>>()),
        Value::Object(fields) => map(fields.iter()),
    }
}

fn map<'a>(fields: impl Iterator<Item = (&'a String, &'a Value)>) -> cel::Value {
    let fields: HashMap<String, cel::Value> =
        fields.map(|(name, value)| (name.clone(), to_cel(value))).collect();
    cel::Value::from(fields)
}

fn error(expression: &str, why: String) -> Error {
    Error { expression: expression.to_owned(), why }
}

/// Texts with their paths.
type Texts<'a> = Vec<(Vec<String>, &'a str)>;

fn collect<'a>(value: &'a Value, path: &mut Vec<String>, found: &mut Texts<'a>) {
    let mut inside = |name: String, value: &'a Value, found: &mut Texts<'a>| {
        path.push(name);
        collect(value, path, found);
        path.pop();
    };
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| inside(index.to_string(), item, found));
        }
        Value::Object(fields) => fields.iter().for_each(|(name, value)| inside(name.clone(), value, found)),
        Value::String(text) => found.push((path.clone(), text)),
        _ => {}
    }
}

/// Cuts a text at its `${…}`; one without an end is text.
fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut begin = 0;
    let mut at = 0;
    while let Some(offset) = text[at..].find("${") {
        let open = at + offset;
        let escaped = text[..open].ends_with('$');
        let Some(length) = expression_length(&text[open + 2..]).filter(|_| !escaped) else {
            at = open + 2;
            continue;
        };
        if open > begin {
            parts.push(Part::Text(&text[begin..open]));
        }
        parts.push(Part::Expression(text[open + 2..open + 2 + length].trim()));
        begin = open + 2 + length + 1;
        at = begin;
    }
    if begin < text.len() {
        parts.push(Part::Text(&text[begin..]));
    }
    parts
}

/// Bytes before the brace that ends an expression; braces in quotes and pairs of braces are its own.
fn expression_length(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    let mut quote = None;
    for (index, character) in text.char_indices() {
        match (quote, character) {
            (Some(end), _) if end == character => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(character),
            (None, '{') => open += 1,
            (None, '}') if open == 0 => return Some(index),
            (None, '}') => open -= 1,
            (None, _) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scope() -> Scope {
        let audit = json!({"state": "succeeded", "result": {"count": 3, "ok": true, "names": ["a", "b"]}});
        let steps = BTreeMap::from([("audit".to_owned(), audit.clone()), ("repo-size".to_owned(), audit)]);
        Scope { input: json!({"repo": "/src", "deep": false}), run: json!({"id": "r"}), steps }
    }

    #[test]
    fn a_text_that_is_one_expression_keeps_the_type() {
        for (text, expected) in [
            ("${input.repo}", json!("/src")),
            ("${steps.audit.result.count}", json!(3)),
            ("${steps.audit.result.names}", json!(["a", "b"])),
            ("${steps[\"repo-size\"].result.ok}", json!(true)),
            ("${{'a': 1}}", json!({"a": 1})),
            ("in ${input.repo}: ${steps.audit.result.count + 1}", json!("in /src: 4")),
            ("echo $${HOME}", json!("echo ${HOME}")),
            ("${unfinished", json!("${unfinished")),
            ("${'}'}", json!("}")),
        ] {
            assert_eq!(render(&json!([text]), &scope()).unwrap(), json!([expected]), "{text}");
        }
    }

    #[test]
    fn a_condition_must_be_true_or_false() {
        assert!(holds("steps.audit.result.count == 3 && !input.deep", &scope()).unwrap());
        assert!(holds("has(input.absent)", &scope()).is_ok_and(|held| !held));
        assert!(holds("input.repo", &scope()).unwrap_err().to_string().contains("true or false"));
        assert!(holds("steps.absent.result", &scope()).is_err());
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        let deep = "(".repeat(600);
        let minus = "-".repeat(1_000);
        for source in ["", "1 +", "a b", "(((", "\u{0}", deep.as_str(), minus.as_str(), "'unfinished"] {
            assert!(check(source).is_err(), "{source:?}");
        }
    }

    #[test]
    fn the_steps_that_an_expression_names_are_known() {
        let source = r#"steps.audit.result.x + steps["repo-size"].result + steps['b'].state + my.steps"#;
        let names: Vec<String> = steps_in(source).into_iter().collect();
        assert_eq!(names, ["audit", "b", "repo-size"]);
    }

    #[test]
    fn the_inputs_that_an_expression_names_are_known() {
        let source = r#"input.repo + input["run-tests"] + (input['deep']) + steps.a.input.x + my_input.y"#;
        let names: Vec<String> = inputs_in(source).into_iter().collect();
        assert_eq!(names, ["deep", "repo", "run-tests"]);
    }
}
