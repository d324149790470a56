//! `nova status`.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::output;
use super::spans::Spans;
use crate::cli::Context;
use crate::collector::Traces;
use crate::failure::{self, NoMesh};
use crate::home::MeshFile;
use crate::supervisor::{DAEMONS, missing};

/// Show the mesh's daemons: where they are, whether they are ready, what memory they use.
#[derive(Debug, Args)]
pub(crate) struct Status {}

#[derive(Debug, Serialize)]
struct Report {
    /// Without its secrets.
    mesh: MeshFile,
    home: String,
    daemons: Vec<Daemon>,
    /// Proportional share of memory of all processes of the mesh but the agents', bytes.
    memory_bytes: u64,
    /// Of all daemons since they started.
    spans: Spans,
    /// Batches of telemetry that the collector of `--otlp` did not get.
    batches_not_forwarded: u64,
}

#[derive(Debug, Serialize)]
struct Daemon {
    name: &'static str,
    pid: Option<u32>,
    ready: bool,
    /// What it misses; empty when it is ready.
    missing: String,
    grpc: String,
    http: String,
    memory_bytes: u64,
    spans: Spans,
}

impl Status {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let mesh = context.home.running()?.ok_or_else(|| NoMesh::in_home(&context.home))?;
        show(context, &mesh).await
    }
}

/// Prints how a mesh does; its exit code is 0 only when all of it is ready.
pub(crate) async fn show(context: &Context, mesh: &MeshFile) -> anyhow::Result<ExitCode> {
    let mut daemons = Vec::new();
    for name in DAEMONS {
        daemons.push(Daemon::of(name, mesh).await);
    }
    let memory_bytes = daemons.iter().map(|daemon| daemon.memory_bytes).sum::<u64>() + pss(mesh.pid);
    let home = context.home.path().display().to_string();
    let mesh = mesh.shown();
    let spans = daemons.iter().map(|daemon| daemon.spans).sum();
    let traces = Traces::open(&context.home.traces());
    let batches_not_forwarded = traces.and_then(|traces| traces.not_forwarded()).unwrap_or_default();
    let report = Report { mesh, home, daemons, memory_bytes, spans, batches_not_forwarded };
    if context.json {
        output::json(&report)?
    } else {
        print(&report)?
    }
    let ready = report.daemons.iter().all(|daemon| daemon.ready);
    Ok(ExitCode::from(if ready { 0 } else { failure::FAILED }))
}

fn print(report: &Report) -> anyhow::Result<()> {
    let rows = report.daemons.iter().map(|daemon| {
        vec![
            daemon.name.to_owned(),
            daemon.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
            if daemon.ready { "ready".to_owned() } else { daemon.missing.clone() },
            daemon.grpc.clone(),
            daemon.http.clone(),
            mebibytes(daemon.memory_bytes),
        ]
    });
    output::table(&["DAEMON", "PID", "STATE", "GRPC", "HTTP", "MEMORY"], rows)?;
    output::line(&format!(
        "\nhome       {}{}\nstore      {}\ncollector  {}\nmemory     {} in all, the supervisor included\n\
         spans      {} recorded by the daemons, {} lost{}",
        report.home,
        plaintext(&report.mesh),
        report.mesh.store,
        report.mesh.collector,
        mebibytes(report.memory_bytes),
        report.spans.recorded,
        report.spans.lost,
        not_forwarded(report.batches_not_forwarded)
    ))
}

/// What went no further than this machine, where it should have.
fn not_forwarded(batches: u64) -> String {
    match batches {
        0 => String::new(),
        1 => "; 1 batch did not reach the collector of --otlp".to_owned(),
        more => format!("; {more} batches did not reach the collector of --otlp"),
    }
}

/// That calls may come without TLS, where they may.
fn plaintext(mesh: &MeshFile) -> &'static str {
    if mesh.plaintext.is_none() {
        ""
    } else {
        "\nplaintext  on, on ports of this machine (--json tells which)"
    }
}

impl Daemon {
    async fn of(name: &'static str, mesh: &MeshFile) -> Self {
        let http = mesh.http.get(name).cloned().unwrap_or_default();
        let spans = Spans::of(&http).await;
        let missing = missing(&http).await.unwrap_or_else(|error| error);
        let pid = mesh.pids.get(name).copied();
        Self {
            name,
            pid,
            ready: missing.is_empty(),
            missing,
            grpc: endpoint(name, mesh),
            http: format!("http://{http}"),
            memory_bytes: pid.map_or(0, pss),
            spans,
        }
    }
}

fn endpoint(name: &str, mesh: &MeshFile) -> String {
    let endpoints = serde_json::to_value(&mesh.endpoints).unwrap_or_default();
    endpoints[name].as_str().unwrap_or_default().to_owned()
}

/// Proportional set size of a process, bytes; 0 when it is gone or this is not Linux.
fn pss(pid: u32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kibibytes = line.and_then(|rest| rest.trim().split(' ').next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1_024
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
