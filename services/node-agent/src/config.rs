//! What can be set, with its defaults.

use std::path::Path;

use nova_runtime::grace;
use nova_types::{Violation, Violations};
use serde::{Deserialize, Serialize};

/// Configuration of the node agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Id of the node; empty means the host's name.
    pub node_id: String,
    /// The command that `nova-runner` stands for: an absolute path and its first arguments; empty means none.
    pub runner_command: Vec<String>,
    /// Absolute paths that may be started besides `nova-runner`.
    pub allowed_programs: Vec<String>,
    /// Processes that may run at once, 1 to 1,000.
    pub max_processes: usize,
    /// Ended processes that are remembered; the one that ended first is forgotten first.
    pub kept_processes: usize,
    /// Time that a process has to end by itself when the daemon drains, milliseconds; less than `runtime.drain_seconds`.
    pub drain_grace_ms: u64,
    /// Streams that may be open at once, of all kinds.
    pub max_streams: usize,
    /// How ended processes are started again.
    pub restart: RestartConfig,
    /// How the output of processes is kept.
    pub logs: LogConfig,
    /// How the host is measured.
    pub telemetry: TelemetryConfig,
}

/// How ended processes are started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RestartConfig {
    /// Delay of the first restart, milliseconds; it doubles with each that follows.
    pub first_delay_ms: u64,
    /// Longest delay, milliseconds.
    pub longest_delay_ms: u64,
    /// Restarts within the window, after which a process that ends badly again has failed.
    pub limit: usize,
    /// The window, seconds.
    pub window_seconds: u64,
}

/// How the output of processes is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// Lines of one process kept in memory.
    pub ring_lines: usize,
    /// Bytes of one process kept in memory.
    pub ring_bytes: usize,
    /// Size at which a log file is rotated, bytes.
    pub file_bytes: u64,
    /// Rotated files of one process that are kept beside the present one.
    pub rotated_files: u32,
}

/// How the host is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryConfig {
    /// Time between two samples of the daemon's own, milliseconds, 100 to 3,600,000: for /metrics and for the usage of
    /// processes.
    pub interval_ms: u64,
    /// Time that one collector has, milliseconds; a sample goes without what is not there by then.
    pub collector_timeout_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node_id: String::new(),
            runner_command: Vec::new(),
            allowed_programs: Vec::new(),
            max_processes: 1_000,
            kept_processes: 1_000,
            drain_grace_ms: grace::NODE.as_secs() * 1_000,
            max_streams: 256,
            restart: RestartConfig::default(),
            logs: LogConfig::default(),
            telemetry: TelemetryConfig::default(),
        }
    }
}

impl Default for RestartConfig {
    fn default() -> Self {
        Self { first_delay_ms: 100, longest_delay_ms: 5_000, limit: 10, window_seconds: 60 }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { ring_lines: 10_000, ring_bytes: 256 * 1024, file_bytes: 10 * 1024 * 1024, rotated_files: 3 }
    }
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { interval_ms: 1_000, collector_timeout_ms: 500 }
    }
}

impl Config {
    /// Checks what the types cannot.
    pub fn validate(&self) -> Result<(), Violations> {
        let mut violations = Violations::new();
        self.check_programs(&mut violations);
        let mut within = |field: &str, value: u64, least: u64, most: u64| {
            violations.require(
                (least..=most).contains(&value),
                field,
                &format!("{value} must be {least} to {most}"),
            );
        };
        within("max_processes", self.max_processes as u64, 1, 1_000);
        within("kept_processes", self.kept_processes as u64, 1, 100_000);
        within("drain_grace_ms", self.drain_grace_ms, 0, 300_000);
        within("max_streams", self.max_streams as u64, 1, 100_000);
        within("restart.first_delay_ms", self.restart.first_delay_ms, 1, self.restart.longest_delay_ms);
        within("restart.longest_delay_ms", self.restart.longest_delay_ms, 1, 3_600_000);
        within("restart.limit", self.restart.limit as u64, 0, 10_000);
        within("restart.window_seconds", self.restart.window_seconds, 1, 86_400);
        within("logs.ring_lines", self.logs.ring_lines as u64, 1, 1_000_000);
        within("logs.ring_bytes", self.logs.ring_bytes as u64, 32_768, 1 << 30);
        within("logs.file_bytes", self.logs.file_bytes, 4_096, 1 << 40);
        within("logs.rotated_files", u64::from(self.logs.rotated_files), 0, 1_000);
        within("telemetry.interval_ms", self.telemetry.interval_ms, 100, 3_600_000);
        within("telemetry.collector_timeout_ms", self.telemetry.collector_timeout_ms, 10, 60_000);
        violations.finish()
    }

    fn check_programs(&self, violations: &mut Violations) {
        let runner = self.runner_command.first().map(|program| ("runner_command[0]".to_owned(), program));
        let allowed = self.allowed_programs.iter().enumerate();
        let allowed = allowed.map(|(index, program)| (format!("allowed_programs[{index}]"), program));
        for (field, program) in runner.into_iter().chain(allowed) {
            if !Path::new(program).is_absolute() {
                violations.push(Violation::new(field, format!("{program:?} must be an absolute path")));
            }
        }
    }
}
