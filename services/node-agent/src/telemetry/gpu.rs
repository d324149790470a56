//! NVIDIA accelerators, by NVML. The library is loaded at run time: where it is not, there are no GPUs, and that is no error.

use std::sync::OnceLock;

use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

/// An accelerator. What a device does not tell is zero.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gpu {
    /// Index.
    pub index: u32,
    /// UUID.
    pub uuid: String,
    /// Model.
    pub name: String,
    /// Memory in bytes.
    pub memory_total: u64,
    /// Memory in use, bytes.
    pub memory_used: u64,
    /// Share of the last sample period in which a kernel ran, 0 to 1.
    pub utilization: f64,
    /// Power draw in watts.
    pub power_watts: f64,
    /// Degrees Celsius.
    pub temperature_celsius: f64,
}

/// Reads accelerators. The library is loaded at the first read, and stays.
#[derive(Debug, Default)]
pub(crate) struct Gpus(OnceLock<Result<Nvml, String>>);

impl Gpus {
    /// The accelerators, by index.
    pub(crate) fn read(&self) -> Vec<Gpu> {
        let Ok(nvml) = self.nvml() else { return Vec::new() };
        let count = nvml.device_count().unwrap_or(0);
        (0..count).filter_map(|index| Some(measure(index, &nvml.device_by_index(index).ok()?))).collect()
    }

    /// Whether there are any, in words.
    pub(crate) fn capability(&self) -> String {
        match self.nvml() {
            Err(why) => format!("absent ({why})"),
            Ok(nvml) => match (nvml.device_count(), nvml.sys_driver_version()) {
                (Ok(count), Ok(driver)) => format!("nvml ({count} devices, driver {driver})"),
                (Err(error), _) | (_, Err(error)) => format!("absent ({error})"),
            },
        }
    }

    fn nvml(&self) -> Result<&Nvml, &String> {
        self.0.get_or_init(|| Nvml::init().map_err(why_absent)).as_ref()
    }
}

fn why_absent(error: NvmlError) -> String {
    match error {
        NvmlError::LibloadingError(_) => "no NVML library".to_owned(),
        NvmlError::DriverNotLoaded => "the driver is not loaded".to_owned(),
        other => other.to_string(),
    }
}

fn measure(index: u32, device: &Device<'_>) -> Gpu {
    let memory = device.memory_info().ok();
    Gpu {
        index,
        uuid: device.uuid().unwrap_or_default(),
        name: device.name().unwrap_or_default(),
        memory_total: memory.as_ref().map_or(0, |memory| memory.total),
        memory_used: memory.map_or(0, |memory| memory.used),
        utilization: device.utilization_rates().map_or(0.0, |rates| f64::from(rates.gpu) / 100.0),
        power_watts: device.power_usage().map_or(0.0, |milliwatts| f64::from(milliwatts) / 1_000.0),
        temperature_celsius: device.temperature(TemperatureSensor::Gpu).map_or(0.0, f64::from),
    }
}
