//! What a task of a run carries: the payload that the workflow engine writes and a skill reads.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::skills::SkillError;

/// The payload of a step's task.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct StepTask {
    /// Id of the run; empty for a task that belongs to none.
    #[serde(default)]
    pub run: String,
    /// Id of the step within the run.
    #[serde(default)]
    pub step: String,
    /// Name of the phase.
    #[serde(default)]
    pub phase: String,
    /// What the phase's agents were told.
    #[serde(default)]
    pub instructions: String,
    /// The step's own parameters, with the run's input filled in.
    #[serde(default)]
    pub with: serde_json::Map<String, Value>,
    /// Results of the steps that this one needs, by step id.
    #[serde(default)]
    pub inputs: BTreeMap<String, Value>,
}

impl StepTask {
    /// Reads a payload; an empty one is a step without parameters.
    pub fn parse(payload: &[u8]) -> Result<Self, SkillError> {
        if payload.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_slice(payload).map_err(|error| SkillError::Input(format!("payload: {error}")))
    }

    /// Reads the step's parameters as a skill's own type; the error names the parameter.
    pub fn with<T: DeserializeOwned>(&self) -> Result<T, SkillError> {
        serde_json::from_value(Value::Object(self.with.clone()))
            .map_err(|error| SkillError::Input(format!("with: {error}")))
    }
}

/// Reads a switch that may have been filled in from an input: `true` or `"true"`.
pub(crate) fn switch<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Bool(on) => Ok(on),
        Value::String(text) if text == "true" => Ok(true),
        Value::String(text) if text == "false" || text.is_empty() => Ok(false),
        Value::Null => Ok(false),
        other => Err(serde::de::Error::custom(format!("must be true or false, not {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Input {
        #[serde(default, deserialize_with = "switch")]
        on: bool,
    }

    fn task(with: &str) -> StepTask {
        StepTask::parse(format!(r#"{{"run":"r","step":"s","with":{with}}}"#).as_bytes()).unwrap()
    }

    #[test]
    fn switches_may_be_words() {
        assert!(task(r#"{"on":"true"}"#).with::<Input>().unwrap().on);
        assert!(!task(r#"{"on":false}"#).with::<Input>().unwrap().on);
        assert!(!task("{}").with::<Input>().unwrap().on);
    }

    #[test]
    fn unknown_parameters_are_refused_by_name() {
        let error = task(r#"{"off":1}"#).with::<Input>().unwrap_err().to_string();
        assert!(error.contains("`off`"), "{error}");
    }

    #[test]
    fn payload_that_is_no_json_is_an_input_error() {
        assert!(matches!(StepTask::parse(b"{"), Err(SkillError::Input(_))));
    }
}
