//! Proof that the queue keeps its promises while everything around it breaks.
//!
//! Clients write a [`history`] of what they asked and what they were told, and nothing else: no line of it comes
//! from inside the queue. At rest the queue is read once more. The [`checker`] then looks for anything that the
//! fourteen invariants of the queue rule out, and names it.
//!
//! Histories come from two places. Simulated runs (`nova_queue`, module `simulation`) put the real engine over a
//! ledger in memory, on a held clock, under faults that a seed decides. Real runs (`tests/it`) kill, stop and cut off
//! processes. Broken queues are checked, too: a checker that finds nothing in them would prove nothing.
//!
//! # The invariants
//!
//! | | what | check | exercised by |
//! |---|---|---|---|
//! | 1 | an acknowledged enqueue ends terminal or is still there; so does a checkpoint | [`checker`], `stored`, `left` | both; checkpoints simulated |
//! | 2 | at most one valid token per task; tokens grow; nothing proven or held is taken away | `tokens`, `proofs`, `times` | both; proofs and purges simulated |
//! | 3 | a stale token has no effect | `tokens` | both |
//! | 4 | a task is in exactly one state | `stored` | both |
//! | 5 | at most one terminal transition; results are immutable | `endings` | both |
//! | 6 | attempts stay below their maximum; poison reaches the dead letters | `endings` | both |
//! | 7 | same key, same task; a unique key has one holder | `stored` | both; unique keys simulated |
//! | 8 | nothing starts before its time, while paused, or after its deadline | `times` | both; pauses and deadlines simulated |
//! | 9 | what runs and what starts stays within its limits; nothing is held at rest | `limits` | rest both; limits and rates simulated |
//! | 10 | waits are bounded; shares converge to weights | `times`, `groups` | simulated |
//! | 11 | a child runs after its parents, once | `flows` | simulated |
//! | 12 | one firing for each tick | `flows` | simulated |
//! | 13 | expired leases are reclaimed within a bound | `times` | simulated; that a step stays as small when more leases end at once: `core::expiry_tests` of the queue |
//! | 14 | a worker's clock changes nothing | all of the above | simulated: workers whose clocks jump |

#![warn(missing_docs)]

pub mod checker;
pub mod history;
pub mod recorder;
pub mod seed;
