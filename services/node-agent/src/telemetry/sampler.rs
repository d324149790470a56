//! Samples of the host, for as many as ask.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nova_types::Clock;
use tokio::time::Instant;

use super::collector::Collector;
use super::gpu::Gpus;
use super::kernel::{self, Kernel};
use super::network::Network;
use super::node::Node;
use super::{Filesystem, Gpu, Interface, Readings, filesystems, node, pressure};
use crate::config::TelemetryConfig;

/// Readings that are younger are shared by all who ask.
const SHARED: Duration = Duration::from_millis(50);

/// How a host does at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// What the collectors said.
    pub readings: Arc<Readings>,
    /// Share of all CPUs in use since the sample before, 0 to 1.
    pub cpu_utilization: f64,
}

/// Takes samples.
#[derive(Debug)]
pub struct Sampler {
    clock: Arc<dyn Clock>,
    kernel: Collector<Kernel>,
    filesystems: Collector<Vec<Filesystem>>,
    network: Collector<Vec<Interface>>,
    gpus: Collector<Vec<Gpu>>,
    pressure: Collector<BTreeMap<String, f64>>,
    node: Collector<Node>,
    gpu_capability: Collector<String>,
    shared: tokio::sync::Mutex<Option<(Instant, Arc<Readings>)>>,
    latest: Mutex<Sample>,
}

impl Sampler {
    /// A sampler that has not read anything yet.
    pub fn new(config: TelemetryConfig, clock: Arc<dyn Clock>) -> Self {
        let deadline = Duration::from_millis(config.collector_timeout_ms);
        let (network, gpus) = (Network::default(), Arc::new(Gpus::default()));
        let same_gpus = Arc::clone(&gpus);
        Self {
            clock,
            kernel: Collector::new("kernel", deadline, kernel::read),
            filesystems: Collector::new("filesystems", deadline, filesystems::read),
            network: Collector::new("network", deadline, move || network.read()),
            gpus: Collector::new("gpu", deadline, move || gpus.read()),
            pressure: Collector::new("pressure", deadline, pressure::read),
            node: Collector::new("node", deadline, node::read),
            gpu_capability: Collector::new("gpu_capability", deadline, move || same_gpus.capability()),
            shared: tokio::sync::Mutex::new(None),
            latest: Mutex::default(),
        }
    }

    /// A sample now. CPU time is counted since `earlier`; one without readings means since boot.
    pub async fn sample(&self, earlier: &Sample) -> Sample {
        let readings = self.readings().await;
        let utilization = readings.kernel.cpu.utilization_since(earlier.readings.kernel.cpu);
        Sample { cpu_utilization: utilization.unwrap_or(earlier.cpu_utilization), readings }
    }

    /// Takes the sample that [`Sampler::latest`] gives from now on.
    pub async fn refresh(&self) {
        let sample = self.sample(&self.latest()).await;
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = sample;
    }

    /// The last sample of the daemon's own; without readings before the first.
    pub fn latest(&self) -> Sample {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the host has; none when it does not say so in time.
    pub async fn node(&self) -> Option<Node> {
        self.node.collect().await
    }

    /// What can be measured here, by name, and what is in trouble.
    pub async fn capabilities(&self) -> BTreeMap<String, String> {
        let gpu = self.gpu_capability.collect().await;
        let pressure = match self.latest().readings.pressure.is_empty() {
            true => "absent (the kernel has no /proc/pressure)",
            false => "psi",
        };
        let mut capabilities = BTreeMap::from([
            ("gpu".to_owned(), gpu.unwrap_or_else(|| "absent (NVML does not answer)".to_owned())),
            ("pressure".to_owned(), pressure.to_owned()),
        ]);
        capabilities.extend(self.troubles());
        capabilities
    }

    fn troubles(&self) -> impl Iterator<Item = (String, String)> {
        let troubles = [
            self.kernel.trouble(),
            self.filesystems.trouble(),
            self.network.trouble(),
            self.gpus.trouble(),
            self.pressure.trouble(),
        ];
        troubles.into_iter().flatten()
    }

    async fn readings(&self) -> Arc<Readings> {
        let mut shared = self.shared.lock().await;
        if let Some((read, readings)) = &*shared
            && read.elapsed() < SHARED
        {
            return Arc::clone(readings);
        }
        let readings = Arc::new(self.read().await);
        *shared = Some((Instant::now(), Arc::clone(&readings)));
        readings
    }

    async fn read(&self) -> Readings {
        let time = self.clock.now();
        let (kernel, filesystems, interfaces, gpus, pressure) = tokio::join!(
            self.kernel.collect(),
            self.filesystems.collect(),
            self.network.collect(),
            self.gpus.collect(),
            self.pressure.collect(),
        );
        Readings {
            time,
            kernel: kernel.unwrap_or_default(),
            filesystems: filesystems.unwrap_or_default(),
            interfaces: interfaces.unwrap_or_default(),
            gpus: gpus.unwrap_or_default(),
            pressure: pressure.unwrap_or_default(),
        }
    }
}
