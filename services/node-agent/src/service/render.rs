//! To the wire.

use std::collections::BTreeMap;

use nova_proto::node::v1 as pb;
use nova_types::wire::to_duration;

use crate::process::{Cause, Limits, Line, Process, Program, RUNNER, Restart, Spec, State};
use crate::telemetry::{Filesystem, Gpu, Interface, Node, Sample};

pub(super) fn node(node: Node, sample: &Sample, capabilities: BTreeMap<String, String>) -> pb::Node {
    pb::Node {
        id: node.id,
        os: node.os,
        kernel: node.kernel,
        architecture: node.architecture,
        cpu_model: node.cpu_model,
        cpus: node.cpus,
        memory_bytes: node.memory,
        gpus: sample.readings.gpus.iter().map(gpu).collect(),
        capabilities: capabilities.into_iter().collect(),
        boot_time: Some(node.boot_time.to_wire()),
    }
}

pub(super) fn telemetry(sample: &Sample) -> pb::Telemetry {
    let readings = &sample.readings;
    pb::Telemetry {
        time: Some(readings.time.to_wire()),
        cpu_utilization: sample.cpu_utilization,
        load_average: readings.kernel.load.to_vec(),
        memory_used_bytes: readings.kernel.memory_used(),
        memory_available_bytes: readings.kernel.memory_available,
        swap_used_bytes: readings.kernel.swap_used,
        filesystems: readings.filesystems.iter().map(filesystem).collect(),
        interfaces: readings.interfaces.iter().map(interface).collect(),
        gpus: readings.gpus.iter().map(gpu).collect(),
        pressure: readings.pressure.clone().into_iter().collect(),
    }
}

fn filesystem(filesystem: &Filesystem) -> pb::Filesystem {
    pb::Filesystem {
        mount: filesystem.mount.clone(),
        r#type: filesystem.kind.clone(),
        total_bytes: filesystem.total,
        available_bytes: filesystem.available,
    }
}

fn interface(interface: &Interface) -> pb::NetworkInterface {
    pb::NetworkInterface {
        name: interface.name.clone(),
        received_bytes: interface.received,
        sent_bytes: interface.sent,
        addresses: interface.addresses.clone(),
    }
}

fn gpu(gpu: &Gpu) -> pb::Gpu {
    pb::Gpu {
        index: gpu.index,
        uuid: gpu.uuid.clone(),
        name: gpu.name.clone(),
        memory_bytes: gpu.memory_total,
        memory_used_bytes: gpu.memory_used,
        utilization: gpu.utilization,
        power_watts: gpu.power_watts,
        temperature_celsius: gpu.temperature_celsius,
    }
}

pub(super) fn process(process: &Process) -> pb::Process {
    let (exit_code, signal) = match process.ending.map(|ending| ending.cause) {
        None => (0, 0),
        Some(Cause::Exit(code)) => (code, 0),
        Some(Cause::Signal(signal)) => (-1, signal),
    };
    let usage = pb::ProcessUsage {
        cpu_time: Some(to_duration(process.usage.cpu_time)),
        max_memory_bytes: process.usage.max_memory_bytes,
    };
    pb::Process {
        spec: Some(spec(&process.spec)),
        state: state(process.state).into(),
        pid: process.pid,
        start_time: Some(process.start_time.to_wire()),
        end_time: process.ending.map(|ending| ending.time.to_wire()),
        exit_code,
        signal,
        restarts: process.restarts,
        usage: Some(usage),
        reason: process.reason.clone(),
    }
}

fn state(state: State) -> pb::ProcessState {
    match state {
        State::Running => pb::ProcessState::Running,
        State::BackingOff => pb::ProcessState::BackingOff,
        State::Stopping => pb::ProcessState::Stopping,
        State::Exited => pb::ProcessState::Exited,
        State::Failed => pb::ProcessState::Failed,
    }
}

fn spec(spec: &Spec) -> pb::ProcessSpec {
    let program = match &spec.program {
        Program::Runner => RUNNER.to_owned(),
        Program::Path(path) => path.display().to_string(),
    };
    let directory = spec.working_directory.as_ref().map(|directory| directory.display().to_string());
    let restart = match spec.restart {
        Restart::Never => pb::RestartPolicy::Never,
        Restart::OnFailure => pb::RestartPolicy::OnFailure,
    };
    pb::ProcessSpec {
        process_id: spec.id.to_string(),
        program,
        args: spec.args.clone(),
        environment: spec.environment.clone().into_iter().collect(),
        working_directory: directory.unwrap_or_default(),
        restart: restart.into(),
        agent_id: spec.agent.as_ref().map(ToString::to_string).unwrap_or_default(),
        limits: Some(limits(&spec.limits)),
        labels: spec.labels.clone().into_iter().collect(),
    }
}

fn limits(limits: &Limits) -> pb::ProcessLimits {
    pb::ProcessLimits {
        memory_bytes: limits.memory_bytes.unwrap_or(0),
        cpu_seconds: limits.cpu_seconds.unwrap_or(0),
        open_files: limits.open_files.unwrap_or(0),
    }
}

pub(super) fn line(line: &Line) -> pb::StreamLogsResponse {
    let (stream, text) = (line.source.as_str().to_owned(), line.text.to_string());
    pb::StreamLogsResponse { time: Some(line.time.to_wire()), stream, line: text }
}
