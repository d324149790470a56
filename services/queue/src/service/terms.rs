//! From the wire to what a task is bound to.

use std::{ops::RangeInclusive, time::Duration};

use nova_proto::queue::v1 as pb;
use nova_types::{Violation, Violations, wire};
use uuid::Uuid;

use crate::{
    service::parse::{YEAR, task_id},
    terms::{PARENTS, Terms},
};

/// Longest unique key, bytes.
const KEY_BYTES: usize = 128;

const SPANS: RangeInclusive<Duration> = Duration::from_millis(1)..=YEAR;

/// The terms of the task at `place` of its request; none when it has none.
pub(super) fn terms(task: &pb::NewTask, place: usize, violations: &mut Violations) -> Option<Box<Terms>> {
    violations.take(wire::text("unique_key", &task.unique_key, 0..=KEY_BYTES));
    let keyed = task.unique_for.is_none() || !task.unique_key.is_empty();
    violations.require(keyed, "unique_for", "must be unset without a unique_key");
    let mut span = |field, value: Option<&prost_types::Duration>| {
        let span = violations.take(wire::duration(field, value, SPANS, Duration::ZERO));
        span.filter(|span| !span.is_zero())
    };
    let deadline = span("deadline", task.deadline.as_ref());
    let unique_for = span("unique_for", task.unique_for.as_ref());
    let after = violations.take(parents(&task.after)).unwrap_or_default();
    violations.take(earlier(&task.after_index, place));
    let (unique_key, run_after_failure) = (task.unique_key.as_str().into(), task.run_after_failure);
    let terms = Terms { deadline, unique_key, unique_for, after, run_after_failure };
    (!terms.is_empty() || !task.after_index.is_empty()).then(|| Box::new(terms))
}

fn parents(ids: &[String]) -> Result<Vec<Uuid>, Violation> {
    few("after", ids.len())?;
    let one =
        |(index, id): (usize, &String)| task_id("", id).map_err(|violation| violation.at("after", index));
    ids.iter().enumerate().map(one).collect()
}

fn earlier(indexes: &[u32], place: usize) -> Result<(), Violation> {
    few("after_index", indexes.len())?;
    match indexes.iter().position(|index| *index as usize >= place) {
        Some(at) => {
            let rule = format!("{} must be less than the task's own index, {place}", indexes[at]);
            Err(Violation::new(format!("after_index[{at}]"), rule))
        }
        None => Ok(()),
    }
}

fn few(field: &str, count: usize) -> Result<(), Violation> {
    if count <= PARENTS {
        return Ok(());
    }
    Err(Violation::new(field, format!("{count} entries must be at most {PARENTS}")))
}
