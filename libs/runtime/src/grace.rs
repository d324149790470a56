//! How long each has that is to end. Who holds work hands it back when it ends; whoever ends it waits for longer than that
//! takes, or kills it in the middle, and an attempt is burned. So in this order, from within:
//!
//! 1. an agent waits [`SKILL`] for the skills that run, gives those that it then cancels [`STOP`], and hands back what is
//!    left, which takes the queue an answer;
//! 2. who stops one process, as the end of a run does, gives it [`PROCESS`];
//! 3. a node agent that drains gives all its processes [`NODE`], unless it is told otherwise (`drain_grace_ms`);
//! 4. a daemon that drains, the node agent too, ends after [`DAEMON`], unless it is told otherwise (`drain_seconds`).

use std::time::Duration;

/// How long an agent that is to end waits for skills that run.
pub const SKILL: Duration = Duration::from_secs(3);
/// How long a skill has to end that an agent cancels.
pub const STOP: Duration = Duration::from_secs(1);
/// How long the process of an agent has that is stopped alone.
pub const PROCESS: Duration = Duration::from_secs(6);
/// How long all processes of a node agent have that drains.
pub const NODE: Duration = Duration::from_secs(8);
/// How long a daemon has that drains.
pub const DAEMON: Duration = Duration::from_secs(10);

const _: () = assert!(SKILL.as_secs() + STOP.as_secs() < PROCESS.as_secs(), "an agent can hand back");
const _: () = assert!(PROCESS.as_secs() < NODE.as_secs(), "a stop that was begun ends before a drain does");
const _: () = assert!(NODE.as_secs() < DAEMON.as_secs(), "processes end before their daemon does");
