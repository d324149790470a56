//! The life of a task: its states, what moves it between them, and how attempts are repeated.
//!
//! Pure and synchronous. [`next`] is the only place that decides which state follows which.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Microseconds since the epoch.
pub type Micros = i64;

/// Where a task is; it is in exactly one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum State {
    /// Waits for a time: delayed, or backing off.
    Waiting,
    /// May be leased.
    Ready,
    /// A worker holds it.
    Leased,
    /// Ended with a result.
    Completed,
    /// Ended without one.
    Dead,
    /// Ended on request.
    Cancelled,
}

/// What happens to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Its time has come.
    Due,
    /// A worker took it.
    Lease,
    /// The worker completed it.
    Complete,
    /// The attempt failed or expired, and another will follow.
    Retry,
    /// The attempt failed, and it was the last.
    Exhaust,
    /// The attempt expired, and it was the last.
    Expire,
    /// The worker handed it back unstarted.
    Release,
    /// The worker handed it back unstarted, for later.
    Snooze,
    /// The tasks that it waited for are done; its time has not come.
    Unblock,
    /// Somebody asked for its end.
    Cancel,
    /// Its deadline has passed.
    Overdue,
}

/// The state after `event`, or nothing when the event cannot happen in `state`.
pub fn next(state: State, event: Event) -> Option<State> {
    match (state, event) {
        (State::Waiting, Event::Due) | (State::Leased, Event::Release) => Some(State::Ready),
        (State::Ready, Event::Lease) => Some(State::Leased),
        (State::Leased, Event::Complete) => Some(State::Completed),
        (State::Leased, Event::Retry | Event::Snooze) | (State::Waiting, Event::Unblock) => {
            Some(State::Waiting)
        }
        (State::Leased, Event::Exhaust | Event::Expire) => Some(State::Dead),
        (State::Waiting | State::Ready | State::Leased, Event::Overdue) => Some(State::Dead),
        (State::Waiting | State::Ready | State::Leased, Event::Cancel) => Some(State::Cancelled),
        (
            State::Waiting | State::Ready,
            Event::Complete | Event::Retry | Event::Exhaust | Event::Expire | Event::Release | Event::Snooze,
        )
        | (State::Waiting, Event::Lease)
        | (State::Ready | State::Leased, Event::Due | Event::Unblock)
        | (State::Leased, Event::Lease)
        | (State::Completed | State::Dead | State::Cancelled, _) => None,
    }
}

impl Event {
    /// Whether time brought it, and nobody's word.
    pub fn is_of_time(self) -> bool {
        matches!(self, Self::Due | Self::Expire | Self::Overdue)
    }
}

impl State {
    /// True when nothing can follow.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Dead | Self::Cancelled)
    }

    /// The number that both stores keep; equal to the contract's.
    pub fn code(self) -> u8 {
        match self {
            Self::Waiting => 1,
            Self::Ready => 2,
            Self::Leased => 3,
            Self::Completed => 4,
            Self::Dead => 5,
            Self::Cancelled => 6,
        }
    }

    /// Reads a [`code`](Self::code).
    pub fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Waiting,
            2 => Self::Ready,
            3 => Self::Leased,
            4 => Self::Completed,
            5 => Self::Dead,
            6 => Self::Cancelled,
            _ => return None,
        })
    }
}

/// How often a task is tried, and how long it rests between attempts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retry {
    /// Attempts in all, expired ones included; at least 1.
    pub max_attempts: u32,
    /// Rest after the first failed attempt.
    pub initial: Duration,
    /// Growth of the rest with each attempt; at least 1.
    pub factor: f64,
    /// Longest rest.
    pub max: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { max_attempts: 3, initial: Duration::from_secs(1), factor: 2.0, max: Duration::from_secs(600) }
    }
}

/// Share of a backoff that jitter may take off.
const JITTER: f64 = 0.2;

impl Retry {
    /// Rest after attempt number `attempt` (from 1) failed; `jitter` in 0..1 takes up to a fifth off.
    pub fn backoff(&self, attempt: u32, jitter: f64) -> Duration {
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let full = self.initial.as_secs_f64() * self.factor.max(1.0).powi(exponent);
        let capped = full.min(self.max.as_secs_f64());
        Duration::from_secs_f64(capped * (1.0 - JITTER * jitter.clamp(0.0, 1.0)))
    }
}

/// What a worker says of a failed attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Stable, for programs.
    pub reason: String,
    /// For people.
    pub message: String,
    /// W3C trace context of the attempt's span; empty for none. It is kept with the attempt alone.
    #[serde(default)]
    pub traceparent: Box<str>,
}

/// Reason of an attempt that was handed back.
pub const RELEASED: &str = "RELEASED";

impl Failure {
    /// About the bytes of memory that it takes.
    pub(crate) fn size(&self) -> usize {
        size_of::<Self>() + self.reason.len() + self.message.len() + self.traceparent.len()
    }

    /// One without a trace.
    pub fn new(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason: reason.into(), message: message.into(), traceparent: Box::default() }
    }

    /// The worker's lease ended before it settled.
    pub fn expired() -> Self {
        Self::new("LEASE_EXPIRED", "the lease ended before the worker settled it")
    }

    /// The worker handed the task back unstarted.
    pub fn released() -> Self {
        Self::new(RELEASED, "the worker handed it back")
    }

    /// Somebody cancelled the task.
    pub fn cancelled(message: &str) -> Self {
        Self::new("CANCELLED", message)
    }

    /// The task had not completed by its deadline.
    pub fn deadline_exceeded() -> Self {
        Self::new("DEADLINE_EXCEEDED", "the task had not completed by its deadline")
    }

    /// The store does not have what the task was to work on.
    pub fn payload_lost() -> Self {
        Self::new(
            "PAYLOAD_LOST",
            "the store of the queue no longer has the payload of the task, or it is damaged",
        )
    }

    /// A task that it waited for will not complete.
    pub fn parent_failed(parent: Uuid) -> Self {
        Self::new("PARENT_FAILED", format!("task {parent}, which it waited for, was cancelled or forgotten"))
    }

    /// The attempt took longer than it may.
    pub fn timed_out(timeout: Duration) -> Self {
        Self::new("ATTEMPT_TIMEOUT", format!("the attempt took longer than its timeout of {timeout:?}"))
    }
}

/// When an ended attempt is followed by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Again, not before this time.
    RetryAt(Micros),
    /// No more: the task is dead.
    Dead,
}

/// Decides what follows attempt `attempts` that failed or expired at `now`.
pub fn verdict(
    retry: &Retry,
    attempts: u32,
    permanent: bool,
    retry_after: Option<Duration>,
    now: Micros,
    jitter: f64,
) -> Verdict {
    if permanent || attempts >= retry.max_attempts {
        return Verdict::Dead;
    }
    let rest = retry_after.unwrap_or_else(|| retry.backoff(attempts, jitter));
    Verdict::RetryAt(after(now, rest))
}

/// `now` plus `rest`.
pub fn after(now: Micros, rest: Duration) -> Micros {
    now.saturating_add(i64::try_from(rest.as_micros()).unwrap_or(i64::MAX))
}

/// The length of a span that is not negative.
pub fn span(micros: Micros) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STATES: [State; 6] =
        [State::Waiting, State::Ready, State::Leased, State::Completed, State::Dead, State::Cancelled];

    fn any_event() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(Event::Due),
            Just(Event::Lease),
            Just(Event::Complete),
            Just(Event::Retry),
            Just(Event::Exhaust),
            Just(Event::Expire),
            Just(Event::Release),
            Just(Event::Snooze),
            Just(Event::Unblock),
            Just(Event::Cancel),
            Just(Event::Overdue),
        ]
    }

    #[test]
    fn codes_name_their_states() {
        for state in STATES {
            assert_eq!(State::from_code(state.code()), Some(state));
        }
        assert_eq!(State::from_code(0), None);
    }

    proptest! {
        #[test]
        fn an_ended_task_never_changes(events in proptest::collection::vec(any_event(), 1..50)) {
            let mut state = State::Waiting;
            for event in events {
                let followed = next(state, event);
                prop_assert!(!state.is_terminal() || followed.is_none());
                state = followed.unwrap_or(state);
            }
        }

        #[test]
        fn only_a_leased_task_completes_or_fails(event in any_event()) {
            for state in STATES {
                let overdue = event == Event::Overdue;
                if !overdue && matches!(next(state, event), Some(State::Completed | State::Dead)) {
                    prop_assert_eq!(state, State::Leased);
                }
            }
        }

        #[test]
        fn a_backoff_grows_to_its_bound(attempt in 1u32..100, jitter in 0.0f64..1.0) {
            let retry = Retry::default();
            let rest = retry.backoff(attempt, jitter);
            prop_assert!(rest <= retry.max);
            prop_assert!(rest >= Duration::from_millis(799));
            prop_assert!(retry.backoff(attempt + 1, jitter) >= rest);
        }

        #[test]
        fn the_last_attempt_is_followed_by_death(attempts in 1u32..20, max in 1u32..20) {
            let retry = Retry { max_attempts: max, ..Retry::default() };
            let dead = verdict(&retry, attempts, false, None, 0, 0.0) == Verdict::Dead;
            prop_assert_eq!(dead, attempts >= max);
        }
    }
}
