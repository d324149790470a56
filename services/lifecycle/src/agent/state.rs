//! The state machine of agents: one table.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use serde::{Deserialize, Serialize};

/// Where an agent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    /// Known, without a process.
    Registered,
    /// Its process was started and has not reported yet.
    Starting,
    /// Waits for work.
    Idle,
    /// Works.
    Active,
    /// Finishes what it holds and takes nothing new.
    Draining,
    /// Done.
    Retired,
    /// Reported an error.
    Error,
    /// Missed its heartbeats.
    Unreachable,
}

use AgentState::{Active, Draining, Error, Idle, Registered, Retired, Starting, Unreachable};

impl AgentState {
    /// Every state.
    pub const ALL: [Self; 8] = [Registered, Starting, Idle, Active, Draining, Retired, Error, Unreachable];

    /// Where an agent can go from here. This is the whole table.
    pub fn legal_next(self) -> &'static [Self] {
        match self {
            Registered => &[Starting, Retired, Error],
            Starting => &[Idle, Draining, Error, Unreachable],
            Idle => &[Active, Draining, Error, Unreachable],
            Active => &[Idle, Draining, Error, Unreachable],
            Draining => &[Retired, Error, Unreachable],
            Retired => &[Registered],
            Error => &[Starting, Idle, Draining, Retired, Unreachable],
            Unreachable => &[Starting, Idle, Draining, Retired, Error],
        }
    }

    /// Whether one step leads there.
    pub fn can_become(self, next: Self) -> bool {
        self.legal_next().contains(&next)
    }

    /// Whether a process should stand behind it, and heartbeats come from it.
    pub fn is_live(self) -> bool {
        matches!(self, Starting | Idle | Active | Draining)
    }

    /// The shortest way there by legal moves, without the state itself; every state can be reached.
    pub fn way_to(self, goal: Self) -> Vec<Self> {
        let mut before: BTreeMap<Self, Self> = BTreeMap::new();
        let mut open = VecDeque::from([self]);
        while let Some(state) = open.pop_front() {
            if state == goal {
                break;
            }
            for next in state.legal_next() {
                if *next != self && !before.contains_key(next) {
                    before.insert(*next, state);
                    open.push_back(*next);
                }
            }
        }
        let mut way = Vec::new();
        let mut at = goal;
        while at != self {
            way.push(at);
            at = before[&at];
        }
        way.reverse();
        way
    }
}

impl fmt::Display for AgentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Registered => "registered",
            Starting => "starting",
            Idle => "idle",
            Active => "active",
            Draining => "draining",
            Retired => "retired",
            Error => "error",
            Unreachable => "unreachable",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_and_unreachable_are_entered_from_any_live_state_and_left_again() {
        for state in AgentState::ALL.into_iter().filter(|state| state.is_live()) {
            assert!(state.can_become(Error) && state.can_become(Unreachable), "{state}");
        }
        assert!(Error.can_become(Starting) && Unreachable.can_become(Idle));
    }

    #[test]
    fn a_retired_agent_only_comes_back_as_registered() {
        assert_eq!(Retired.legal_next(), [Registered]);
    }

    #[test]
    fn every_state_is_reached_from_every_other_by_legal_moves() {
        for from in AgentState::ALL {
            for to in AgentState::ALL {
                let mut at = from;
                for next in from.way_to(to) {
                    assert!(at.can_become(next), "{at} to {next}");
                    at = next;
                }
                assert_eq!(at, to);
            }
        }
        assert_eq!(Idle.way_to(Retired), [Draining, Retired]);
    }
}
