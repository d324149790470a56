//! What the command line may say.

use std::ffi::OsString;
use std::time::Duration;

use clap::Parser;
use nova_types::{Namespace, Violation};

/// Drives an agent of the mesh. Who it is comes on the standard input, from the node agent.
#[derive(Clone, Debug, PartialEq, Eq, Parser)]
#[command(name = "nova-runner", version)]
pub struct Arguments {
    /// Queues to work on, beside the agent's own `agents.id.<id>`; those of the agent's registered
    /// capabilities when none are given. A queue that is not reserved for agents is worked on only when it is
    /// named here.
    #[arg(long, value_delimiter = ',')]
    pub queues: Vec<String>,
    /// Namespace in which the agent is registered, works and remembers.
    #[arg(long, default_value_t, value_parser = namespace)]
    pub namespace: Namespace,
    /// Tasks at once.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub concurrency: u16,
    /// How long a lease outlives the last sign of this process, in milliseconds.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1_000..=3_600_000))]
    pub lease_ms: u64,
    /// How deep this process runs inside of the test commands of other runs.
    #[arg(long, env = crate::skills::repo::testing::DEPTH_VARIABLE, default_value_t = 0)]
    pub depth: u32,
}

impl Arguments {
    /// Reads them; ends the process when they are wrong.
    pub(crate) fn of(args: Vec<OsString>) -> Self {
        Self::parse_from(args)
    }

    /// How long a lease outlives the last sign of this process.
    pub fn lease_duration(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }
}

fn namespace(text: &str) -> Result<Namespace, Violation> {
    Namespace::parse("--namespace", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_works_in_the_default_namespace_unless_told() {
        let namespace = |args: &[&str]| Arguments::try_parse_from(args).map(|it| it.namespace.to_string());
        assert_eq!(namespace(&["agent"]).unwrap(), "default");
        assert_eq!(namespace(&["agent", "--namespace", "team"]).unwrap(), "team");
        assert!(namespace(&["agent", "--namespace", "No Name"]).is_err());
    }

    #[test]
    fn queues_are_separated_by_commas() {
        let arguments =
            Arguments::try_parse_from(["agent", "--queues", "a,b", "--concurrency", "2"]).unwrap();
        assert_eq!((arguments.queues, arguments.concurrency), (vec!["a".to_owned(), "b".to_owned()], 2));
    }

    #[test]
    fn leases_of_agents_are_short() {
        let arguments = Arguments::try_parse_from(["agent"]).unwrap();
        assert_eq!(arguments.lease_duration(), Duration::from_secs(5));
    }
}
