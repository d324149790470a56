//! Typed configuration: defaults, then a TOML file, then the environment, then flags.
//!
//! A file has two tables, `[runtime]` and one of the daemon's own name. The environment
//! spells the path with two underscores: `NOVA_RUNTIME__LISTEN`, `NOVA_QUEUE__RETENTION`.

use std::net::SocketAddr;
use std::path::PathBuf;

use figment::Figment;
use figment::providers::{Env, Format as _, Serialized, Toml};
use nova_client::Endpoints;
use nova_types::TrustDomain;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Otlp;
pub use crate::config_error::ConfigError;
use crate::config_error::{self, Unreadable};
use crate::grace;
use crate::loopback::LoopbackAddr;

/// What a daemon's own table must be.
pub trait Config: Serialize + DeserializeOwned + Default + Send + 'static {}

impl<T: Serialize + DeserializeOwned + Default + Send + 'static> Config for T {}

/// Settings that every daemon has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuntimeConfig {
    /// Where gRPC listens; port 0 takes a free one. Not used when sockets are handed down.
    pub listen: SocketAddr,
    /// Where gRPC listens without TLS, too; none unless it is set. Callers prove themselves by a bearer token there, and
    /// everything else is as with TLS. Only loopback: tokens are readable on the way.
    pub listen_plaintext: Option<LoopbackAddr>,
    /// URL at which other daemons reach gRPC, such as `https://queue-1:7101`; unset means the address that it listens on.
    pub advertise: Option<String>,
    /// Where `/metrics`, `/ready` and `/live` listen; port 0 takes a free one.
    pub http_listen: SocketAddr,
    /// Folder of this daemon's state; made when it is missing.
    pub data_dir: PathBuf,
    /// Free space for the data folder below which the daemon is not ready, MiB.
    pub min_free_disk_mib: u64,
    /// `sqlite` (in the data folder) or the URL of a Redis: `redis://host:port/db`, `redis-cluster://host:port,host:port`,
    /// `redis-sentinel://host:port,host:port/service/db`.
    pub store: String,
    /// Trust domain of the mesh.
    pub trust_domain: TrustDomain,
    /// Where the other daemons are.
    pub endpoints: Endpoints,
    /// How this process comes by its identity.
    pub join: Join,
    /// Logs, traces and metrics.
    pub telemetry: TelemetryConfig,
    /// How calls are decided, and decisions recorded.
    pub policy: nova_authz::Config,
    /// How long calls may take to finish after SIGTERM, seconds.
    pub drain_seconds: u64,
    /// gRPC connections at once; one more is closed when it comes, and the log tells it now and then.
    pub max_connections: usize,
    /// Threads that serve calls; 0 means one for each CPU.
    pub worker_threads: usize,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            listen: loopback(0),
            listen_plaintext: None,
            advertise: None,
            http_listen: loopback(0),
            data_dir: PathBuf::from("."),
            min_free_disk_mib: 16,
            store: "sqlite".to_owned(),
            trust_domain: TrustDomain::default(),
            endpoints: Endpoints::default(),
            join: Join::Stdin,
            telemetry: TelemetryConfig::default(),
            policy: nova_authz::Config::default(),
            drain_seconds: grace::DAEMON.as_secs(),
            max_connections: 10_000,
            worker_threads: 0,
        }
    }
}

/// How a process comes by its identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Join {
    /// One JSON line on standard input, which stays open as a lifeline (see [`crate::Handoff`]).
    Stdin,
    /// The same JSON in a file that only this user may read; there is no lifeline.
    File(PathBuf),
}

/// What a process tells of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// `human` or `json`.
    pub log_format: LogFormat,
    /// What is logged, as `tracing_subscriber`'s filter directives.
    pub log_filter: String,
    /// OTLP/gRPC collector, such as `http://127.0.0.1:4317`; empty means none.
    pub otlp_endpoint: String,
    /// Bearer token that the collector is shown. It comes with a handoff and is no setting: those are shown.
    #[serde(skip)]
    pub otlp_token: Option<String>,
    /// Push metrics to the collector too; `/metrics` is there in any case.
    pub otlp_metrics: bool,
    /// Share of new traces that are recorded, 0 to 1. A caller's decision is followed.
    pub trace_ratio: f64,
    /// Spans that may wait for the collector; what comes beyond is dropped, and counted.
    pub span_buffer: usize,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            log_format: LogFormat::Human,
            log_filter: "info".to_owned(),
            otlp_endpoint: String::new(),
            otlp_token: None,
            otlp_metrics: false,
            trace_ratio: 1.0,
            span_buffer: 65_536,
        }
    }
}

impl TelemetryConfig {
    /// Lets traces go to this collector.
    pub fn send_to(&mut self, otlp: Otlp) {
        (self.otlp_endpoint, self.otlp_token) = (otlp.endpoint, otlp.token);
    }
}

/// Form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line, with `trace_id` and `span_id`.
    Json,
}

/// All settings of a daemon.
#[derive(Clone, Debug)]
pub struct Settings<C> {
    /// What every daemon has.
    pub runtime: RuntimeConfig,
    /// What this one has.
    pub daemon: C,
}

impl<C: Config> Settings<C> {
    /// Reads the settings of the daemon `name`: defaults, `file`, environment, `flags` (`key=value`).
    pub fn load(name: &str, file: Option<&PathBuf>, flags: &[String]) -> Result<Self, ConfigError> {
        let mut figment = Figment::new()
            .merge(Serialized::default("runtime", RuntimeConfig::default()))
            .merge(Serialized::default(name, C::default()));
        if let Some(path) = file {
            figment = figment.merge(Toml::file_exact(path));
        }
        figment = figment.merge(environment(name));
        for flag in flags {
            let (key, value) = flag.split_once('=').ok_or_else(|| ConfigError::Flag(flag.clone()))?;
            let value: figment::value::Value = value.parse().expect("any text is a value");
            figment = figment.merge(Serialized::global(key.trim(), value));
        }
        refuse_unknown_tables(name, &figment)?;
        Ok(Self {
            runtime: config_error::read("runtime", &figment)?,
            daemon: config_error::read(name, &figment)?,
        })
    }

    /// The settings as a file that would give them.
    pub fn dump(&self, name: &str) -> Result<String, ConfigError> {
        let mut file = toml::Table::new();
        file.insert("runtime".to_owned(), toml::Value::try_from(&self.runtime)?);
        file.insert(name.to_owned(), toml::Value::try_from(&self.daemon)?);
        Ok(toml::to_string_pretty(&file)?)
    }
}

/// Only what names one of the two tables: `NOVA_HOME` and its like belong to others.
fn environment(name: &str) -> Env {
    let (runtime, own) = ("runtime__".to_owned(), format!("{name}__"));
    Env::prefixed("NOVA_")
        .filter(move |key| {
            let key = key.as_str().to_lowercase();
            key.starts_with(&runtime) || key.starts_with(&own)
        })
        .split("__")
}

fn refuse_unknown_tables(name: &str, figment: &Figment) -> Result<(), ConfigError> {
    let whole: figment::value::Dict = figment.extract().map_err(|error| Unreadable::of_all(&error))?;
    let Some(key) = whole.keys().find(|key| *key != "runtime" && *key != name) else { return Ok(()) };
    let rule = format!("unknown table; there are `runtime` and `{name}`");
    Err(ConfigError::Invalid(nova_types::Violation::new(key.clone(), rule).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Own {
        limit: u32,
    }

    #[test]
    fn flags_win_over_defaults() {
        let flags = ["own.limit=7".to_owned(), "runtime.listen=127.0.0.1:9".to_owned()];
        let settings = Settings::<Own>::load("own", None, &flags).unwrap();
        assert_eq!(settings.daemon.limit, 7);
        assert_eq!(settings.runtime.listen.port(), 9);
    }

    #[test]
    fn plaintext_is_off_and_refused_by_name_where_others_can_reach_it() {
        let load = |address: &str| {
            Settings::<Own>::load("own", None, &[format!("runtime.listen_plaintext={address}")])
        };
        assert_eq!(RuntimeConfig::default().listen_plaintext, None);
        for address in ["127.0.0.1:0", "[::1]:7201"] {
            assert!(load(address).unwrap().runtime.listen_plaintext.is_some(), "{address}");
        }
        for address in ["0.0.0.0:7201", "[::]:7201", "192.168.1.7:7201", "[::ffff:127.0.0.1]:7201"] {
            let error = load(address).unwrap_err();
            let refused = std::error::Error::source(&error).unwrap().to_string();
            assert!(refused.contains(address) && refused.contains("listen_plaintext"), "{refused}");
        }
    }

    #[test]
    fn a_refusal_names_key_value_and_rule() {
        for (flag, words) in [
            ("runtime.listen=here", "runtime.listen: \"here\": invalid socket address syntax"),
            (
                "runtime.telemetry.log_format=xml",
                "runtime.telemetry.log_format: \"xml\" must be one of human, json",
            ),
            ("own.limit=many", "own.limit: invalid type: found string \"many\", expected u32"),
            ("own.limt=7", "own.limt: there is no such key; there are limit"),
        ] {
            let error = Settings::<Own>::load("own", None, &[flag.to_owned()]).unwrap_err();
            assert_eq!(std::error::Error::source(&error).unwrap().to_string(), words);
        }
    }

    #[test]
    fn a_refusal_of_what_stands_in_a_file_names_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[own]\nlimit = -1\n").unwrap();
        let error = Settings::<Own>::load("own", Some(&file.path().to_owned()), &[]).unwrap_err();
        let words = std::error::Error::source(&error).unwrap().to_string();
        assert!(
            words.starts_with("own.limit: ") && words.ends_with(&file.path().display().to_string()),
            "{words}"
        );
    }

    #[test]
    fn unknown_keys_and_tables_are_refused() {
        for flag in ["own.limt=7", "runtime.lisen=x", "other.limit=7", "nonsense"] {
            assert!(Settings::<Own>::load("own", None, &[flag.to_owned()]).is_err(), "{flag}");
        }
    }

    #[test]
    fn what_is_dumped_can_be_read_again() {
        let settings = Settings::<Own>::load("own", None, &["own.limit=7".to_owned()]).unwrap();
        let file = settings.dump("own").unwrap();
        assert!(file.contains("limit = 7"), "{file}");
    }
}
