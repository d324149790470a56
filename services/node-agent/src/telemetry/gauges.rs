//! The same measures for Prometheus and OTLP, named as OpenTelemetry's semantic conventions name them.
//!
//! They show the daemon's last sample: a scrape costs no reading of the host.

use std::sync::Arc;

use opentelemetry::metrics::{AsyncInstrument, Meter};
use opentelemetry::{KeyValue, global};

use super::{Gpu, Sampler};
use crate::process::Supervisor;

/// Registers all of them with the process's meter.
pub(crate) fn register(sampler: &Arc<Sampler>, supervisor: &Supervisor) {
    let meter = global::meter("nova.node");
    register_kernel(&meter, sampler);
    register_filesystems(&meter, sampler);
    register_network(&meter, sampler);
    register_pressure(&meter, sampler);
    register_gpus(&meter, sampler);
    register_processes(&meter, supervisor);
}

fn register_kernel(meter: &Meter, sampler: &Arc<Sampler>) {
    gauge(meter, sampler, "system.cpu.utilization", "1", |sampler, observer| {
        observer.observe(sampler.latest().cpu_utilization, &[]);
    });
    let loads = ["system.cpu.load_average.1m", "system.cpu.load_average.5m", "system.cpu.load_average.15m"];
    for (index, name) in loads.into_iter().enumerate() {
        gauge(meter, sampler, name, "{thread}", move |sampler, observer| {
            observer.observe(sampler.latest().readings.kernel.load[index], &[]);
        });
    }
    gauge(meter, sampler, "system.memory.usage", "By", |sampler, observer| {
        let kernel = sampler.latest().readings.kernel.clone();
        observer.observe(kernel.memory_used() as f64, &[KeyValue::new("system.memory.state", "used")]);
    });
    gauge(meter, sampler, "system.memory.limit", "By", |sampler, observer| {
        observer.observe(sampler.latest().readings.kernel.memory_total as f64, &[]);
    });
    gauge(meter, sampler, "system.linux.memory.available", "By", |sampler, observer| {
        observer.observe(sampler.latest().readings.kernel.memory_available as f64, &[]);
    });
    gauge(meter, sampler, "system.paging.usage", "By", |sampler, observer| {
        let used = sampler.latest().readings.kernel.swap_used as f64;
        observer.observe(used, &[KeyValue::new("system.paging.state", "used")]);
    });
}

fn register_filesystems(meter: &Meter, sampler: &Arc<Sampler>) {
    gauge(meter, sampler, "system.filesystem.usage", "By", |sampler, observer| {
        for filesystem in &sampler.latest().readings.filesystems {
            let used = filesystem.total.saturating_sub(filesystem.available);
            for (state, bytes) in [("used", used), ("free", filesystem.available)] {
                let attributes = [
                    KeyValue::new("system.filesystem.mountpoint", filesystem.mount.clone()),
                    KeyValue::new("system.filesystem.type", filesystem.kind.clone()),
                    KeyValue::new("system.filesystem.state", state),
                ];
                observer.observe(bytes as f64, &attributes);
            }
        }
    });
}

fn register_network(meter: &Meter, sampler: &Arc<Sampler>) {
    let sampler = Arc::clone(sampler);
    let counter = meter.u64_observable_counter("system.network.io").with_unit("By");
    let counter = counter.with_callback(move |observer| {
        for interface in &sampler.latest().readings.interfaces {
            for (direction, bytes) in [("receive", interface.received), ("transmit", interface.sent)] {
                let attributes = [
                    KeyValue::new("network.interface.name", interface.name.clone()),
                    KeyValue::new("network.io.direction", direction),
                ];
                observer.observe(bytes, &attributes);
            }
        }
    });
    counter.build();
}

fn register_pressure(meter: &Meter, sampler: &Arc<Sampler>) {
    gauge(meter, sampler, "nova.node.pressure", "1", |sampler, observer| {
        for (resource, share) in &sampler.latest().readings.pressure {
            observer.observe(*share, &[KeyValue::new("resource", resource.clone())]);
        }
    });
}

/// Name, unit, and how it is read.
type GpuMeasure = (&'static str, &'static str, fn(&Gpu) -> f64);

fn register_gpus(meter: &Meter, sampler: &Arc<Sampler>) {
    let measures: [GpuMeasure; 5] = [
        ("hw.gpu.utilization", "1", |gpu| gpu.utilization),
        ("hw.gpu.memory.usage", "By", |gpu| gpu.memory_used as f64),
        ("hw.gpu.memory.limit", "By", |gpu| gpu.memory_total as f64),
        ("hw.power", "W", |gpu| gpu.power_watts),
        ("hw.temperature", "Cel", |gpu| gpu.temperature_celsius),
    ];
    for (name, unit, measure) in measures {
        gauge(meter, sampler, name, unit, move |sampler, observer| {
            for gpu in &sampler.latest().readings.gpus {
                let attributes = [
                    KeyValue::new("hw.id", gpu.uuid.clone()),
                    KeyValue::new("hw.name", gpu.name.clone()),
                    KeyValue::new("hw.type", "gpu"),
                ];
                observer.observe(measure(gpu), &attributes);
            }
        });
    }
}

fn register_processes(meter: &Meter, supervisor: &Supervisor) {
    let with_memory = supervisor.clone();
    let memory = meter.u64_observable_gauge("process.memory.usage").with_unit("By");
    let memory = memory.with_callback(move |observer| {
        for (process, bytes) in with_memory.memory() {
            observer.observe(bytes, &[KeyValue::new("nova.process.id", process.spec.id.to_string())]);
        }
    });
    memory.build();
    let with_usage = supervisor.clone();
    let time = meter.f64_observable_counter("process.cpu.time").with_unit("s");
    let time = time.with_callback(move |observer| {
        for (process, _) in with_usage.memory() {
            let seconds = process.usage.cpu_time.as_secs_f64();
            observer.observe(seconds, &[KeyValue::new("nova.process.id", process.spec.id.to_string())]);
        }
    });
    time.build();
}

fn gauge(
    meter: &Meter,
    sampler: &Arc<Sampler>,
    name: &'static str,
    unit: &'static str,
    observe: impl Fn(&Sampler, &dyn AsyncInstrument<f64>) + Send + Sync + 'static,
) {
    let sampler = Arc::clone(sampler);
    let gauge = meter.f64_observable_gauge(name).with_unit(unit);
    gauge.with_callback(move |observer| observe(&sampler, observer)).build();
}
