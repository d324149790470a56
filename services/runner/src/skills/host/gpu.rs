//! `host.gpu`: accelerators, or that there is none.
//!
//! NVIDIA's devices answer through their management library, which is looked for at run time; all
//! others are known from the kernel's list of display and compute devices.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};
use serde::Serialize;

use crate::skills::{Finding, Outcome, Request, SkillError, text};

/// Devices reported at most.
const MOST: u32 = 64;

/// The accelerators of this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GpuFinding {
    /// The devices; empty when there is none.
    pub devices: Vec<Gpu>,
    /// Version of NVIDIA's driver, where it answers.
    pub driver: Option<String>,
    /// Why NVIDIA's library did not answer, where it did not.
    pub nvml: Option<String>,
}

/// An accelerator; memory in bytes. What the device does not tell is unset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gpu {
    /// Maker.
    pub vendor: String,
    /// Model, or the ids of maker and device on the bus.
    pub model: String,
    /// Memory in all.
    pub memory_total: Option<u64>,
    /// Memory in use.
    pub memory_used: Option<u64>,
    /// How busy it is, in percent.
    pub busy_percent: Option<u32>,
    /// Temperature of the chip, in °C.
    pub temperature: Option<u32>,
}

/// Serves `host.gpu`.
pub fn run(_: &Request) -> Result<Outcome, SkillError> {
    Outcome::of(&examine(Path::new("/sys")))
}

/// Looks for accelerators; `sys` is where the kernel's device tree is mounted.
pub fn examine(sys: &Path) -> GpuFinding {
    let (mut devices, driver, nvml) = match nvidia() {
        Ok((devices, driver)) => (devices, driver, None),
        Err(error) => (Vec::new(), None, Some(error.to_string())),
    };
    let answered = !devices.is_empty();
    devices.extend(listed(sys).into_iter().filter(|gpu| !(answered && gpu.vendor == "NVIDIA")));
    GpuFinding { devices, driver, nvml }
}

fn nvidia() -> Result<(Vec<Gpu>, Option<String>), NvmlError> {
    let nvml = Nvml::init()?;
    let device = |index| Ok(describe(&nvml.device_by_index(index)?));
    let devices = (0..nvml.device_count()?.min(MOST)).map(device).collect::<Result<_, NvmlError>>()?;
    Ok((devices, nvml.sys_driver_version().ok()))
}

fn describe(device: &Device<'_>) -> Gpu {
    let memory = device.memory_info().ok();
    Gpu {
        vendor: "NVIDIA".to_owned(),
        model: device.name().unwrap_or_default(),
        memory_total: memory.as_ref().map(|memory| memory.total),
        memory_used: memory.as_ref().map(|memory| memory.used),
        busy_percent: device.utilization_rates().ok().map(|rates| rates.gpu),
        temperature: device.temperature(TemperatureSensor::Gpu).ok(),
    }
}

/// The devices behind `/sys/class/drm/card<n>`, each once.
fn listed(sys: &Path) -> Vec<Gpu> {
    let Ok(entries) = fs::read_dir(sys.join("class/drm")) else { return Vec::new() };
    let mut seen = BTreeSet::new();
    let mut devices = Vec::new();
    for entry in entries.flatten() {
        let folder = entry.path().join("device");
        let (Ok(vendor), Ok(device)) = (id(&folder, "vendor"), id(&folder, "device")) else { continue };
        let place = fs::canonicalize(&folder).unwrap_or(folder);
        if is_card(&entry.file_name().to_string_lossy()) && seen.insert(place) {
            devices.push(unnamed(&vendor, &device));
        }
    }
    devices.truncate(MOST as usize);
    devices
}

fn is_card(name: &str) -> bool {
    name.strip_prefix("card").is_some_and(|number| number.parse::<u32>().is_ok())
}

fn id(folder: &Path, file: &str) -> std::io::Result<String> {
    fs::read_to_string(folder.join(file)).map(|id| id.trim().trim_start_matches("0x").to_owned())
}

fn unnamed(vendor: &str, device: &str) -> Gpu {
    let name = match vendor {
        "10de" => "NVIDIA",
        "1002" => "AMD",
        "8086" => "Intel",
        "1af4" => "virtio",
        "1234" => "QEMU",
        other => other,
    };
    Gpu {
        vendor: name.to_owned(),
        model: format!("{vendor}:{device}"),
        memory_total: None,
        memory_used: None,
        busy_percent: None,
        temperature: None,
    }
}

impl Finding for GpuFinding {
    fn summary(&self) -> String {
        if self.devices.is_empty() {
            return "no GPU: neither NVIDIA's library nor the kernel's device list knows one".to_owned();
        }
        let devices = self.devices.iter().map(|gpu| {
            let memory =
                gpu.memory_total.map(|total| format!(", {}", text::bytes(total))).unwrap_or_default();
            format!("{} {}{memory}", gpu.vendor, gpu.model)
        });
        let driver = self.driver.as_deref().map(|driver| format!("; driver {driver}")).unwrap_or_default();
        format!("{}: {}{driver}", text::count(self.devices.len() as u64, "GPU"), text::list(devices, 8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(sys: &Path, name: &str, vendor: &str) {
        let folder = sys.join("class/drm").join(name).join("device");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("vendor"), format!("0x{vendor}\n")).unwrap();
        fs::write(folder.join("device"), "0x744c\n").unwrap();
    }

    #[test]
    fn cards_are_listed_and_their_outputs_are_not() {
        let sys = tempfile::tempdir().unwrap();
        card(sys.path(), "card0", "1002");
        card(sys.path(), "card0-HDMI-A-1", "1002");
        let found = listed(sys.path());
        assert_eq!(found.iter().map(|gpu| gpu.model.as_str()).collect::<Vec<_>>(), ["1002:744c"]);
        assert_eq!(found[0].vendor, "AMD");
    }

    #[test]
    fn absence_is_a_finding() {
        let finding = GpuFinding { devices: Vec::new(), driver: None, nvml: Some("not found".into()) };
        assert!(finding.summary().starts_with("no GPU"));
    }

    #[test]
    fn this_host_answers_either_way() {
        let finding = examine(Path::new("/sys"));
        assert!(finding.nvml.is_some() || finding.driver.is_some());
    }
}
