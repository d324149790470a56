//! Why settings cannot be used, in the words of who wrote them: the key, its value, the rule, and where it stands.

use std::fmt;

use figment::Figment;
use figment::error::{Error, Kind};
use serde::de::DeserializeOwned;

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A value of the wrong form, a key that nobody knows, or a file that cannot be read.
    #[error("the configuration is wrong")]
    Unreadable(#[from] Unreadable),
    /// `--set` without `=`.
    #[error("--set {0:?} must be key=value, such as runtime.listen=127.0.0.1:7101")]
    Flag(String),
    /// A value that breaks a rule.
    #[error("the configuration is wrong")]
    Invalid(#[from] nova_types::Violations),
    /// Settings that TOML cannot express.
    #[error("the configuration cannot be printed")]
    Print(#[from] toml::ser::Error),
}

/// A setting that cannot be read.
#[derive(Debug)]
pub struct Unreadable {
    /// `queue.max_tasks`; empty when it is a file as a whole.
    key: String,
    /// What was given, where the rule does not say it.
    value: Option<String>,
    rule: String,
    place: String,
}

impl std::error::Error for Unreadable {}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        if let Some(value) = &self.value {
            write!(f, "{value:?}: ")?;
        }
        write!(f, "{}{}", self.rule, self.place)
    }
}

/// Reads one table.
pub(crate) fn read<T: DeserializeOwned>(table: &str, figment: &Figment) -> Result<T, ConfigError> {
    let focused = figment.focus(table);
    focused.extract().map_err(|error| Unreadable::of(table, &error, &focused).into())
}

impl Unreadable {
    /// An error of all tables together.
    pub(crate) fn of_all(error: &Error) -> Self {
        Self { key: error.path.join("."), value: None, rule: rule(&error.kind), place: place(error) }
    }

    fn of(table: &str, error: &Error, focused: &Figment) -> Self {
        let path = error.path.join(".");
        let says_little = matches!(error.kind, Kind::Message(_));
        let value = focused
            .find_value(&path)
            .ok()
            .filter(|_| says_little)
            .and_then(figment::value::Value::into_string);
        let key = if path.is_empty() { table.to_owned() } else { format!("{table}.{path}") };
        Self { key, value, rule: rule(&error.kind), place: place(error) }
    }
}

fn rule(kind: &Kind) -> String {
    match kind {
        Kind::UnknownField(_, known) => format!("there is no such key; there are {}", known.join(", ")),
        Kind::UnknownVariant(given, known) => format!("{given:?} must be one of {}", known.join(", ")),
        kind => kind.to_string(),
    }
}

/// Where it was set; nothing for a flag, which its author sees.
fn place(error: &Error) -> String {
    let Some(metadata) = &error.metadata else { return String::new() };
    match metadata.source.as_ref().and_then(figment::Source::file_path) {
        Some(file) => format!(", in {}", file.display()),
        None if metadata.name.contains("environment") => ", in the environment".to_owned(),
        None => String::new(),
    }
}
