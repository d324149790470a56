//! A task as a line of a file says it.

use std::collections::HashMap;
use std::time::Duration;

use nova_proto::queue::v1::{NewTask, RetryPolicy};
use nova_types::wire;
use serde::Deserialize;
use serde_json::Value;

use super::fresh_key;

/// A task, in the words that `--json` has for one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    queue: String,
    kind: String,
    /// What the handler is given, as JSON; nothing for null.
    #[serde(default)]
    payload: Value,
    #[serde(default)]
    metadata: HashMap<String, String>,
    #[serde(default = "fresh_key")]
    request_id: String,
    #[serde(default)]
    priority: u32,
    #[serde(default)]
    group: String,
    #[serde(default, with = "seconds")]
    delay_seconds: Option<Duration>,
    #[serde(default, with = "seconds")]
    deadline_seconds: Option<Duration>,
    #[serde(default)]
    unique_key: String,
    #[serde(default, with = "seconds")]
    unique_for_seconds: Option<Duration>,
    #[serde(default, with = "seconds")]
    attempt_timeout_seconds: Option<Duration>,
    #[serde(default)]
    retry: Option<Retry>,
    #[serde(default)]
    after: Vec<String>,
    /// Places of tasks of the file.
    #[serde(default)]
    after_index: Vec<usize>,
    #[serde(default)]
    run_after_failure: bool,
}

/// How attempts are repeated.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Retry {
    max_attempts: u32,
    #[serde(with = "seconds")]
    initial_backoff_seconds: Option<Duration>,
    factor: f64,
    #[serde(with = "seconds")]
    max_backoff_seconds: Option<Duration>,
}

/// A number of seconds as a length of time.
mod seconds {
    use std::time::Duration;

    use serde::de::{Deserialize as _, Deserializer, Error as _};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        let seconds = Option::<f64>::deserialize(from)?;
        let time = |seconds| Duration::try_from_secs_f64(seconds).map_err(D::Error::custom);
        seconds.map(time).transpose()
    }
}

impl Line {
    /// Reads a task; whoever wrote it is told in which column it goes wrong.
    pub(super) fn read(text: &[u8]) -> anyhow::Result<Self> {
        serde_json::from_slice(text).map_err(|error| {
            let (at, told) =
                (format!(" at line {} column {}", error.line(), error.column()), error.to_string());
            anyhow::anyhow!("{} (column {})", told.strip_suffix(&at).unwrap_or(&told), error.column())
        })
    }

    /// The task on the wire. It is the next one of a request whose first task has the place `ids.len()` in the file;
    /// `ids` are those of the tasks before that.
    pub(super) fn task(self, place: usize, ids: &[String]) -> anyhow::Result<NewTask> {
        let (mut after, mut after_index) = (self.after, Vec::new());
        for parent in self.after_index {
            anyhow::ensure!(
                parent < place,
                "after_index: {parent} must be less than {place}, the task's own place"
            );
            match ids.get(parent) {
                Some(id) => after.push(id.clone()),
                None => after_index.push(u32::try_from(parent - ids.len())?),
            }
        }
        let payload = if self.payload.is_null() { Vec::new() } else { serde_json::to_vec(&self.payload)? };
        Ok(NewTask {
            queue: self.queue,
            kind: self.kind,
            payload: payload.into(),
            metadata: self.metadata,
            request_id: self.request_id,
            priority: self.priority,
            delay: self.delay_seconds.map(wire::to_duration),
            retry: self.retry.map(Retry::policy),
            attempt_timeout: self.attempt_timeout_seconds.map(wire::to_duration),
            deadline: self.deadline_seconds.map(wire::to_duration),
            unique_key: self.unique_key,
            unique_for: self.unique_for_seconds.map(wire::to_duration),
            after,
            after_index,
            run_after_failure: self.run_after_failure,
            group: self.group,
        })
    }
}

impl Retry {
    fn policy(self) -> RetryPolicy {
        RetryPolicy {
            max_attempts: self.max_attempts,
            initial_backoff: self.initial_backoff_seconds.map(wire::to_duration),
            factor: self.factor,
            max_backoff: self.max_backoff_seconds.map(wire::to_duration),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Result<Line, String> {
        Line::read(text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_line_may_say_all_that_a_task_has() {
        let all = r#"{"queue":"q","kind":"k","payload":{"a":1},"metadata":{"x":"y"},"request_id":"r","priority":7,
            "group":"g","delay_seconds":1.5,"deadline_seconds":60,"unique_key":"u","unique_for_seconds":2,
            "attempt_timeout_seconds":0.5,"after":["t"],"after_index":[2],"run_after_failure":true,"retry":
            {"max_attempts":5,"initial_backoff_seconds":1,"factor":3,"max_backoff_seconds":9}}"#;
        let task = line(all).unwrap().task(4, &["0".to_owned(), "1".to_owned()]).unwrap();
        let time = |millis| Some(wire::to_duration(Duration::from_millis(millis)));
        let retry = RetryPolicy {
            max_attempts: 5,
            initial_backoff: time(1_000),
            factor: 3.0,
            max_backoff: time(9_000),
        };
        let wanted = NewTask {
            queue: "q".into(),
            kind: "k".into(),
            payload: r#"{"a":1}"#.into(),
            metadata: [("x".into(), "y".into())].into(),
            request_id: "r".into(),
            priority: 7,
            delay: time(1_500),
            retry: Some(retry),
            attempt_timeout: time(500),
            deadline: time(60_000),
            unique_key: "u".into(),
            unique_for: time(2_000),
            after: vec!["t".into()],
            after_index: vec![0],
            run_after_failure: true,
            group: "g".into(),
        };
        assert_eq!(task, wanted);
    }

    #[test]
    fn a_task_that_was_stored_before_is_named_by_its_id() {
        let text = r#"{"queue":"q","kind":"k","after_index":[1,2]}"#;
        let task = line(text).unwrap().task(3, &["0".to_owned(), "1".to_owned()]).unwrap();
        assert_eq!((task.after, task.after_index), (vec!["1".to_owned()], vec![0]));
        let refused = line(text).unwrap().task(2, &[]).unwrap_err();
        assert_eq!(refused.to_string(), "after_index: 2 must be less than 2, the task's own place");
    }

    #[test]
    fn a_task_without_a_key_is_given_one() {
        let task = || line(r#"{"queue":"q","kind":"k"}"#).unwrap().task(0, &[]).unwrap();
        assert_ne!(task().request_id, task().request_id);
        assert!(task().payload.is_empty());
    }

    #[test]
    fn what_a_line_gets_wrong_is_named() {
        for (text, told) in [
            (r#"{"kind":"k"}"#, "missing field `queue`"),
            (r#"{"queue":"q","kind":"k","delay":5}"#, "unknown field `delay`"),
            (r#"{"queue":"q","kind":"k","delay_seconds":-1}"#, "negative"),
        ] {
            let refused = line(text).unwrap_err();
            assert!(refused.contains(told), "{refused}");
        }
    }
}
