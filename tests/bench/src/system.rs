//! A queue under measurement: Nova, or a peer. Scenarios know this and nothing else.

use async_trait::async_trait;

use crate::job::{Job, Outcome};
use crate::process;

/// A queue that is up, with its server and its clients. It goes down when it is dropped.
#[async_trait]
pub(crate) trait System: Send {
    /// What figures call it.
    fn name(&self) -> &str;

    /// What all its figures depend on: how it syncs, how it is driven.
    fn settings(&self) -> String;

    /// Processes that serve, with all that they started.
    fn servers(&self) -> Vec<u32>;

    /// Processes that enqueue and work, with all that they started.
    fn clients(&self) -> Vec<u32>;

    /// Its spans since it is up, where it makes any.
    fn spans(&self) -> Option<SpanCounts> {
        None
    }

    /// Whether it can be worked with Nova's worker SDK.
    fn has_sdk(&self) -> bool {
        false
    }

    /// Spans of the process that works with the SDK, since that is up, where it makes any: how many it must have made is
    /// known from its tasks.
    fn worker_spans(&self) -> Option<SpanCounts> {
        None
    }

    /// Does it, and answers once it is done. All that is enqueued is completed when the last of it is worked off:
    /// a system that can tell checks it.
    async fn run(&mut self, job: &Job) -> anyhow::Result<Outcome>;

    /// The same on a queue of its own, beside what stands in the first; none where that is not asked of a system.
    async fn aside(&mut self, _job: &Job) -> anyhow::Result<Option<Outcome>> {
        Ok(None)
    }

    /// Lets leases run out, and answers by how many seconds after its time the last of them ended; none where that is not
    /// asked of a system.
    async fn expire(&mut self) -> anyhow::Result<Option<f64>> {
        Ok(None)
    }

    /// Kills its server, and answers the seconds until one has stored a task again; none where nobody starts another.
    async fn recover(&mut self) -> anyhow::Result<Option<f64>> {
        Ok(None)
    }
}

/// What became of spans.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SpanCounts {
    /// That the servers recorded, as they say.
    pub(crate) recorded: u64,
    /// That they lost, as they say.
    pub(crate) lost: u64,
    /// That arrived at the collector at the end.
    pub(crate) arrived: u64,
}

impl SpanCounts {
    /// Those that came after `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            recorded: self.recorded - before.recorded,
            lost: self.lost - before.lost,
            arrived: self.arrived - before.arrived,
        }
    }
}

/// Processor time that a job took, and memory held when it ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Processor seconds of the servers.
    pub(crate) server_cpu: f64,
    /// Processor seconds of the clients.
    pub(crate) client_cpu: f64,
    /// Bytes of the servers.
    pub(crate) server_memory: f64,
    /// Bytes of the clients.
    pub(crate) client_memory: f64,
}

/// Runs a job, and looks at the processes before and after.
pub(crate) async fn cost(system: &mut dyn System, job: &Job) -> anyhow::Result<(Outcome, Cost)> {
    let cpu =
        |system: &dyn System| [system.servers(), system.clients()].map(|ids| process::cpu_seconds(&ids));
    let before = cpu(system);
    let outcome = system.run(job).await?;
    let after = cpu(system);
    let cost = Cost {
        server_cpu: after[0] - before[0],
        client_cpu: after[1] - before[1],
        server_memory: process::memory_bytes(&system.servers()),
        client_memory: process::memory_bytes(&system.clients()),
    };
    Ok((outcome, cost))
}
