//! What the host has, and how it does.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use nova_client::Mesh;
use nova_proto::node::v1 as wire;
use serde_json::{Value, json};

use crate::cli::Context;
use crate::commands::{arguments, cells, output};

/// Show how this host does.
#[derive(Debug, Args)]
pub(crate) struct Telemetry {
    /// Go on until Ctrl-C, a line for each sample.
    #[arg(long)]
    watch: bool,
    /// Time between samples, 100ms to 1h.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = arguments::duration, requires = "watch")]
    interval: Duration,
}

impl Telemetry {
    /// Whether it ends only when somebody ends it.
    pub(crate) fn goes_on(&self) -> bool {
        self.watch
    }

    pub(crate) async fn run(self, context: &Context, mesh: &Mesh) -> anyhow::Result<()> {
        if self.watch {
            return tokio::select! {
                ended = watch(context, mesh, self.interval) => ended,
                interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
            };
        }
        let answer = mesh.node().get_telemetry(wire::GetTelemetryRequest {}).await?.into_inner();
        sample(context, &answer.telemetry.unwrap_or_default())
    }
}

async fn watch(context: &Context, mesh: &Mesh, interval: Duration) -> anyhow::Result<()> {
    let interval = Some(nova_types::wire::to_duration(interval));
    let request = wire::StreamTelemetryRequest { interval };
    let mut samples = mesh.node().stream_telemetry(request).await?.into_inner();
    while let Some(answer) = samples.message().await? {
        let telemetry = answer.telemetry.unwrap_or_default();
        if context.json { output::json_line(&telemetry_record(&telemetry))? } else { line(&telemetry)? }
    }
    Ok(())
}

fn line(telemetry: &wire::Telemetry) -> anyhow::Result<()> {
    let time = telemetry.time.as_ref().map(|time| cells::local(time, "%H:%M:%S")).unwrap_or_default();
    output::line(&format!(
        "{time}  cpu {:>4}  load {}  memory {} used, {} available{}",
        cells::percent(telemetry.cpu_utilization),
        load(telemetry),
        cells::bytes(telemetry.memory_used_bytes),
        cells::bytes(telemetry.memory_available_bytes),
        pressure(telemetry),
    ))
}

fn sample(context: &Context, telemetry: &wire::Telemetry) -> anyhow::Result<()> {
    let filesystems = telemetry.filesystems.iter().map(|filesystem| {
        let (free, total) = (cells::bytes(filesystem.available_bytes), cells::bytes(filesystem.total_bytes));
        format!("{} {free} free of {total}", filesystem.mount)
    });
    let interfaces = telemetry.interfaces.iter().map(|interface| {
        let (received, sent) = (cells::bytes(interface.received_bytes), cells::bytes(interface.sent_bytes));
        format!("{} {received} received, {sent} sent", interface.name)
    });
    let memory = format!(
        "{} used, {} available",
        cells::bytes(telemetry.memory_used_bytes),
        cells::bytes(telemetry.memory_available_bytes)
    );
    let fields = [
        ("cpu", cells::percent(telemetry.cpu_utilization)),
        ("load", load(telemetry)),
        ("memory", memory),
        ("swap", format!("{} used", cells::bytes(telemetry.swap_used_bytes))),
        ("pressure", pressure(telemetry).trim_start().to_owned()),
        ("disks", filesystems.collect::<Vec<_>>().join("\n")),
        ("network", interfaces.collect::<Vec<_>>().join("\n")),
        ("gpus", telemetry.gpus.iter().map(gpu).collect::<Vec<_>>().join("\n")),
    ];
    output::fields(context, &fields, &telemetry_record(telemetry))
}

fn load(telemetry: &wire::Telemetry) -> String {
    telemetry.load_average.iter().map(|load| format!("{load:.2}")).collect::<Vec<_>>().join(" ")
}

fn pressure(telemetry: &wire::Telemetry) -> String {
    let shares: BTreeMap<_, _> = telemetry.pressure.iter().collect();
    let line = |(name, share): (&String, &f64)| format!("  {name} pressure {}", cells::percent(*share));
    shares.into_iter().map(line).collect()
}

/// Shows what the host has.
pub(crate) async fn show(context: &Context, mesh: &Mesh) -> anyhow::Result<()> {
    let answer = mesh.node().get_node(wire::GetNodeRequest {}).await?.into_inner();
    let node = answer.node.unwrap_or_default();
    let mut capabilities: Vec<String> =
        node.capabilities.iter().map(|(name, how)| format!("{name}: {how}")).collect();
    capabilities.sort();
    let gpus = node.gpus.iter().map(gpu).collect::<Vec<_>>().join("\n");
    let fields = [
        ("node", node.id.clone()),
        ("system", format!("{}, kernel {}, {}", node.os, node.kernel, node.architecture)),
        ("cpu", format!("{} × {}", node.cpus, node.cpu_model)),
        ("memory", cells::bytes(node.memory_bytes)),
        ("gpus", if gpus.is_empty() { "none".to_owned() } else { gpus }),
        ("booted", cells::moment(node.boot_time.as_ref())),
        ("can", capabilities.join("\n")),
    ];
    output::fields(context, &fields, &node_record(&node))
}

fn gpu(gpu: &wire::Gpu) -> String {
    format!(
        "{} {}: {} of {} in use, {} busy, {:.0} W, {:.0} °C",
        gpu.index,
        gpu.name,
        cells::bytes(gpu.memory_used_bytes),
        cells::bytes(gpu.memory_bytes),
        cells::percent(gpu.utilization),
        gpu.power_watts,
        gpu.temperature_celsius
    )
}

fn node_record(node: &wire::Node) -> Value {
    json!({
        "id": node.id,
        "os": node.os,
        "kernel": node.kernel,
        "architecture": node.architecture,
        "cpu_model": node.cpu_model,
        "cpus": node.cpus,
        "memory_bytes": node.memory_bytes,
        "gpus": node.gpus.iter().map(gpu_record).collect::<Vec<_>>(),
        "capabilities": node.capabilities,
        "boot_time": cells::rfc3339(node.boot_time.as_ref()),
    })
}

fn gpu_record(gpu: &wire::Gpu) -> Value {
    json!({
        "index": gpu.index,
        "uuid": gpu.uuid,
        "name": gpu.name,
        "memory_bytes": gpu.memory_bytes,
        "memory_used_bytes": gpu.memory_used_bytes,
        "utilization": gpu.utilization,
        "power_watts": gpu.power_watts,
        "temperature_celsius": gpu.temperature_celsius,
    })
}

fn telemetry_record(telemetry: &wire::Telemetry) -> Value {
    let filesystems = telemetry.filesystems.iter().map(|filesystem| {
        json!({
            "mount": filesystem.mount,
            "type": filesystem.r#type,
            "total_bytes": filesystem.total_bytes,
            "available_bytes": filesystem.available_bytes,
        })
    });
    let interfaces = telemetry.interfaces.iter().map(|interface| {
        json!({
            "name": interface.name,
            "received_bytes": interface.received_bytes,
            "sent_bytes": interface.sent_bytes,
            "addresses": interface.addresses,
        })
    });
    json!({
        "time": cells::rfc3339(telemetry.time.as_ref()),
        "cpu_utilization": telemetry.cpu_utilization,
        "load_average": telemetry.load_average,
        "memory_used_bytes": telemetry.memory_used_bytes,
        "memory_available_bytes": telemetry.memory_available_bytes,
        "swap_used_bytes": telemetry.swap_used_bytes,
        "filesystems": filesystems.collect::<Vec<_>>(),
        "interfaces": interfaces.collect::<Vec<_>>(),
        "gpus": telemetry.gpus.iter().map(gpu_record).collect::<Vec<_>>(),
        "pressure": telemetry.pressure,
    })
}
