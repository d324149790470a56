//! The processes that the node agent supervises, and what they wrote.

use clap::Args;
use nova_client::Mesh;
use nova_proto::node::v1::{
    ListProcessesRequest, Process, ProcessState, StreamLogsRequest, StreamLogsResponse,
};
use serde_json::{Value, json};

use crate::cli::Context;
use crate::commands::{arguments, cells, output};

/// List the mesh's processes, ended ones included while they are kept.
#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// Only processes with this label, such as run=ID; give it again for more.
    #[arg(long, value_name = "KEY=VALUE", value_parser = arguments::pair)]
    label: Vec<(String, String)>,
}

/// Print what a process wrote.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Id of the process, as `nova node ps` shows it.
    process: String,
    /// Go on with the lines to come, until Ctrl-C.
    #[arg(long, short)]
    follow: bool,
    /// Last lines to begin with, at most 10,000.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    tail: u32,
}

impl Ps {
    pub(crate) async fn run(self, context: &Context, mesh: &Mesh) -> anyhow::Result<()> {
        let request = ListProcessesRequest { labels: arguments::labels(self.label)? };
        let processes = mesh.node().list_processes(request).await?.into_inner().processes;
        let records: Vec<Value> = processes.iter().map(record).collect();
        let headers =
            ["PROCESS", "STATE", "PID", "STARTED", "ENDED", "RESTARTS", "CPU", "PEAK MEMORY", "LABELS"];
        output::rows(context, headers, processes.iter().map(row).collect(), &records)
    }
}

fn row(process: &Process) -> [String; 9] {
    let spec = process.spec.clone().unwrap_or_default();
    let usage = process.usage.unwrap_or_default();
    [
        spec.process_id,
        state(process),
        process.pid.to_string(),
        cells::relative(process.start_time.as_ref()),
        end(process),
        process.restarts.to_string(),
        cells::duration(usage.cpu_time.as_ref()).map(cells::exact).unwrap_or_default(),
        memory(usage.max_memory_bytes),
        cells::labels(&spec.labels),
    ]
}

/// The most memory seen; empty for a process that ended before it was looked at.
fn memory(max_bytes: u64) -> String {
    if max_bytes == 0 { String::new() } else { cells::bytes(max_bytes) }
}

/// How and when a process ended; empty while it runs.
fn end(process: &Process) -> String {
    let time = cells::relative(process.end_time.as_ref());
    match (process.state(), process.signal, process.exit_code) {
        (ProcessState::Running | ProcessState::Stopping, _, _) => String::new(),
        (_, 0, code) => format!("code {code}, {time}"),
        (_, signal, _) => format!("signal {signal}, {time}"),
    }
}

fn record(process: &Process) -> Value {
    let spec = process.spec.clone().unwrap_or_default();
    let usage = process.usage.unwrap_or_default();
    json!({
        "process_id": spec.process_id,
        "program": spec.program,
        "args": spec.args,
        "agent_id": spec.agent_id,
        "labels": spec.labels,
        "state": state(process),
        "pid": process.pid,
        "start_time": cells::rfc3339(process.start_time.as_ref()),
        "end_time": cells::rfc3339(process.end_time.as_ref()),
        "exit_code": process.exit_code,
        "signal": process.signal,
        "restarts": process.restarts,
        "cpu_seconds": cells::duration(usage.cpu_time.as_ref()).map(|time| time.as_secs_f64()),
        "max_memory_bytes": usage.max_memory_bytes,
    })
}

fn state(process: &Process) -> String {
    cells::name(process.state().as_str_name(), "PROCESS_STATE_")
}

impl Logs {
    pub(crate) async fn run(self, context: &Context, mesh: &Mesh) -> anyhow::Result<()> {
        tokio::select! {
            ended = self.print(context, mesh) => ended,
            interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
        }
    }

    async fn print(&self, context: &Context, mesh: &Mesh) -> anyhow::Result<()> {
        let process_id = self.process.clone();
        let request = StreamLogsRequest { process_id, tail: self.tail, follow: self.follow };
        let mut lines = mesh.node().stream_logs(request).await?.into_inner();
        while let Some(line) = lines.message().await? {
            if context.json { output::json_line(&line_record(&line))? } else { output::foreign(&line.line)? }
        }
        Ok(())
    }
}

fn line_record(line: &StreamLogsResponse) -> Value {
    json!({"time": cells::rfc3339(line.time.as_ref()), "stream": line.stream, "line": line.line})
}
