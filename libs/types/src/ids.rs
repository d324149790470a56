//! Names and ids, one type each.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Timestamp, Violation, shown};

/// A name that obeys a rule: its length and its characters.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $min:literal..=$max:literal, $extra:expr, $rule:literal) => {
        $(#[$doc])*
        #[doc = concat!("\n\nRule: ", $rule, ".")]
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Checks the rule.
            pub fn parse(field: &str, value: &str) -> Result<Self, Violation> {
                let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || $extra.contains(&byte);
                if ($min..=$max).contains(&value.len()) && value.bytes().all(good) {
                    return Ok(Self(value.to_owned()));
                }
                Err(Violation::new(field, format!("{} must be {}", shown(value), $rule)))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

/// A time-ordered id, a UUIDv7 (RFC 9562).
macro_rules! time_ordered_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id, made at `now`.
            pub fn new(now: Timestamp) -> Self {
                Self(uuid_at(now))
            }

            /// Checks that the text is a UUID.
            pub fn parse(field: &str, value: &str) -> Result<Self, Violation> {
                Uuid::parse_str(value)
                    .map(Self)
                    .map_err(|_| Violation::new(field, format!("{} must be a UUID", shown(value))))
            }

            /// From its 16 bytes.
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// Its 16 bytes, which sort by time.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ._-";

name!(
    /// A queue. Those whose name begins with `agents.` are reserved: only the mesh itself puts tasks there, and
    /// only agents take them, since an agent runs what its queues hold.
    QueueName, 1..=128, ALPHABET, "1 to 128 of a-z A-Z 0-9 . _ -"
);
name!(
    /// What agents can do; each has a queue, [`QueueName::for_capability`].
    Capability, 1..=117, ALPHABET, "1 to 117 of a-z A-Z 0-9 . _ -"
);
name!(
    /// A kind of work, by which handlers are registered.
    TaskKind, 1..=128, ALPHABET, "1 to 128 of a-z A-Z 0-9 . _ -"
);
name!(
    /// A schedule of the queue.
    ScheduleName, 1..=128, ALPHABET, "1 to 128 of a-z A-Z 0-9 . _ -"
);
name!(
    /// An agent.
    AgentId, 1..=63, b"-", "1 to 63 of a-z 0-9 -"
);
name!(
    /// A supervised process.
    ProcessId, 1..=128, ALPHABET, "1 to 128 of a-z A-Z 0-9 . _ -"
);
name!(
    /// A step of a plan.
    StepId, 1..=63, ALPHABET, "1 to 63 of a-z A-Z 0-9 . _ -"
);
name!(
    /// A worker instance, named for people.
    WorkerName, 1..=128, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ._-@:/", "1 to 128 of a-z A-Z 0-9 . _ - @ : /"
);

impl QueueName {
    const RESERVED: &str = "agents.";

    /// The queue of the agents that have a capability. That the text obeys the rule of a [`Capability`] is the
    /// caller's business; the queue checks the name again.
    pub fn for_capability(capability: &str) -> Self {
        Self(format!("{}can.{capability}", Self::RESERVED))
    }

    /// The queue that one agent alone works on.
    pub fn for_agent(agent: &AgentId) -> Self {
        Self(format!("{}id.{agent}", Self::RESERVED))
    }

    /// The agent that alone works on the queue of this name; none when others do.
    pub fn agent_of(name: &str) -> Option<&str> {
        name.strip_prefix(Self::RESERVED)?.strip_prefix("id.")
    }

    /// Whether the queue of this name is reserved.
    pub fn is_reserved(name: &str) -> bool {
        name.starts_with(Self::RESERVED)
    }
}

/// A namespace: every resource lives in one. Empty on the wire means `default`; its rule is that of [`AgentId`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Namespace(String);

impl Namespace {
    /// Checks the rule of names; empty means `default`.
    pub fn parse(field: &str, value: &str) -> Result<Self, Violation> {
        let named = if value.is_empty() { "default" } else { value };
        AgentId::parse(field, named).map(|name| Self(name.0))
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Namespace {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// An idempotency key: 1 to 128 bytes without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(String);

impl RequestId {
    /// Checks the rule; an empty key is none.
    pub fn parse(field: &str, value: &str) -> Result<Option<Self>, Violation> {
        if value.len() > 128 || value.chars().any(char::is_control) {
            return Err(Violation::new(field, "must be at most 128 bytes, without control characters"));
        }
        Ok((!value.is_empty()).then(|| Self(value.to_owned())))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for RequestId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

time_ordered_id!(
    /// A task.
    TaskId
);
time_ordered_id!(
    /// A run of a plan.
    RunId
);
time_ordered_id!(
    /// A session.
    SessionId
);
time_ordered_id!(
    /// A memory.
    MemoryId
);
time_ordered_id!(
    /// A decision.
    DecisionId
);

fn uuid_at(now: Timestamp) -> Uuid {
    let seconds = u64::try_from(now.micros() / 1_000_000).unwrap_or(0);
    let nanos = u32::try_from(now.micros() % 1_000_000 * 1_000).unwrap_or(0);
    Uuid::new_v7(uuid::Timestamp::from_unix(uuid::ContextV7::new(), seconds, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_obeys_its_rule_or_names_its_field() {
        assert!(QueueName::parse("queue", "host-audit.v2").is_ok());
        for bad in ["", "with space", "ünï", &"x".repeat(129)] {
            let violation = QueueName::parse("queue", bad).unwrap_err();
            assert_eq!(violation.field, "queue");
            assert!(violation.rule.contains("1 to 128"), "{violation}");
        }
    }

    #[test]
    fn queues_of_agents_are_reserved_and_no_name_of_theirs_is_too_long() {
        let capability = Capability::parse("capability", &"x".repeat(117)).unwrap();
        let agent = AgentId::parse("agent", &"a".repeat(63)).unwrap();
        for queue in [QueueName::for_capability(capability.as_ref()), QueueName::for_agent(&agent)] {
            assert!(QueueName::is_reserved(queue.as_ref()), "{queue}");
            assert!(QueueName::parse("queue", queue.as_ref()).is_ok(), "{queue}");
        }
        assert_eq!(QueueName::for_capability("shell").as_ref(), "agents.can.shell");
        assert_eq!(QueueName::agent_of(QueueName::for_agent(&agent).as_ref()), Some(agent.as_ref()));
        assert_eq!(QueueName::agent_of("agents.can.id.shell"), None);
        assert!(!QueueName::is_reserved("agents") && !QueueName::is_reserved("shell"));
        assert!(Capability::parse("capability", &"x".repeat(118)).is_err());
    }

    #[test]
    fn an_empty_namespace_is_the_default_one() {
        assert_eq!(Namespace::parse("namespace", "").unwrap().as_ref(), "default");
    }

    #[test]
    fn ids_sort_by_their_time() {
        let early = TaskId::new(Timestamp::from_micros(1_000_000));
        let late = TaskId::new(Timestamp::from_micros(2_000_000));
        assert!(early.as_bytes() < late.as_bytes());
    }
}
