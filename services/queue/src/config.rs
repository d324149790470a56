//! What can be set, with its defaults.

use std::time::Duration;

use nova_types::{Violation, Violations};
use serde::{Deserialize, Serialize};

use crate::{
    core::{Keep, Limits},
    store::Settings,
};

/// Configuration of the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Most live tasks over all queues, about 150 bytes of memory each; an enqueue beyond answers RESOURCE_EXHAUSTED.
    pub max_tasks: usize,
    /// Most bytes of memory that live tasks take over all queues, payloads apart: what is packed of them with their
    /// labels, errors and history; an enqueue beyond answers RESOURCE_EXHAUSTED.
    pub max_bytes: usize,
    /// Most queues over all namespaces. Those that hold nothing and have no settings make room for others.
    pub max_queues: usize,
    /// Most schedules over all namespaces, each of up to about 20 KiB.
    pub max_schedules: usize,
    /// Bytes of tasks kept whole in memory between enqueue and lease; those beyond are packed, and their payloads are
    /// read from the store.
    pub payload_cache_bytes: usize,
    /// Extra wait of a task for each step of priority below 9, milliseconds: it bounds how long newer tasks
    /// of a higher priority may pass an older one.
    pub ageing_step_ms: u64,
    /// Completed and cancelled tasks that are kept with their results. A request_id is known for as long as its task is
    /// kept.
    pub keep_finished: usize,
    /// How long they are kept, seconds.
    pub keep_finished_seconds: u64,
    /// Dead letters that are kept.
    pub keep_dead: usize,
    /// How long they are kept, seconds.
    pub keep_dead_seconds: u64,
    /// Events that a watch may resume from.
    pub keep_events: usize,
    /// Calls that may wait for a commit: enqueues, settlements and heartbeats, and all others, each so many.
    pub max_waiting_calls: usize,
    /// Bytes that each of these three may hold.
    pub max_waiting_bytes: usize,
    /// `Lease` calls that may wait for work. What `Work` streams wait for is not counted.
    pub max_waiting_leases: usize,
    /// `Work` and `WatchTasks` streams together.
    pub max_streams: usize,
}

/// Seconds of a day.
const DAY: u64 = 86_400;

impl Default for Config {
    fn default() -> Self {
        Self {
            max_tasks: 10_000_000,
            max_bytes: 4 << 30,
            max_queues: 100_000,
            max_schedules: 10_000,
            payload_cache_bytes: 64 << 20,
            ageing_step_ms: 5_000,
            keep_finished: 200_000,
            keep_finished_seconds: DAY,
            keep_dead: 1_000_000,
            keep_dead_seconds: 30 * DAY,
            keep_events: 200_000,
            max_waiting_calls: 8_192,
            max_waiting_bytes: 64 << 20,
            max_waiting_leases: 16_384,
            max_streams: 16_384,
        }
    }
}

impl Config {
    /// Checks every bound.
    ///
    /// # Errors
    /// The fields that break theirs.
    pub fn validate(&self) -> Result<(), Violations> {
        let mut violations = Violations::new();
        let positive = [
            ("max_tasks", self.max_tasks),
            ("max_bytes", self.max_bytes),
            ("max_queues", self.max_queues),
            ("keep_events", self.keep_events),
            ("max_waiting_calls", self.max_waiting_calls),
            ("max_waiting_bytes", self.max_waiting_bytes),
            ("max_waiting_leases", self.max_waiting_leases),
            ("max_streams", self.max_streams),
        ];
        for (field, value) in positive {
            if value == 0 {
                violations.push(Violation::new(field, "must be at least 1"));
            }
        }
        violations.finish()
    }

    /// Bounds of what memory holds.
    pub fn limits(&self) -> Limits {
        Limits {
            tasks: self.max_tasks,
            bytes: self.max_bytes,
            queues: self.max_queues,
            schedules: self.max_schedules,
            payload_cache: self.payload_cache_bytes,
            ageing_step: Duration::from_millis(self.ageing_step_ms),
            finished: Keep {
                most: self.keep_finished,
                span: Duration::from_secs(self.keep_finished_seconds),
            },
            dead: Keep { most: self.keep_dead, span: Duration::from_secs(self.keep_dead_seconds) },
            events: self.keep_events,
        }
    }

    /// Longest that an ended task may be kept.
    pub(crate) fn longest_kept(&self) -> Duration {
        Duration::from_secs(self.keep_finished_seconds.max(self.keep_dead_seconds))
    }

    /// Bounds of what the store holds.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            limits: self.limits(),
            calls: self.max_waiting_calls,
            bytes: self.max_waiting_bytes,
            waiting_leases: self.max_waiting_leases,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold() {
        assert_eq!(Config::default().validate(), Ok(()));
    }

    #[test]
    fn a_queue_that_may_hold_nothing_is_refused() {
        let config = Config { max_tasks: 0, ..Config::default() };
        assert!(config.validate().is_err());
    }
}
