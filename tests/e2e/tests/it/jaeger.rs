//! The same trace in a real Jaeger, read back from its API. Long: `tests/run --full`.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nova_testkit::{Nova, eventually};
use serde_json::Value;

use crate::run::orchestrated;

/// Version that is built where Go is there.
const MODULE: &str = "github.com/jaegertracing/jaeger@v1.76.0";
/// Jaeger's own ports, which nobody else may have.
const PORTS: [&str; 2] = ["127.0.0.1:4317", QUERY];
const OTLP: &str = "http://127.0.0.1:4317";
const QUERY: &str = "127.0.0.1:16686";

#[test]
fn jaeger_shows_one_connected_trace_of_six_services() {
    let Some(jaeger) = Jaeger::start() else { return };
    let nova = Nova::new();
    let run = orchestrated(&nova, &["--otlp", OTLP]);
    let spans = eventually("the trace is complete in Jaeger", Duration::from_secs(60), || {
        let spans = jaeger.spans(&run.trace)?;
        orphans(&spans).is_empty().then_some(spans)
    });
    assert_eq!(spans.iter().filter(|span| parent_of(span).is_none()).count(), 1, "one root");
    assert!(jaeger.services(&run.trace).len() >= 6, "{:?}", jaeger.services(&run.trace));
}

struct Jaeger(Child);

impl Jaeger {
    /// Starts Jaeger with its own defaults; none where this run is not `--full`, or Jaeger cannot be had.
    fn start() -> Option<Self> {
        if std::env::var_os("NOVA_TEST_FULL").is_none() {
            eprintln!("SKIPPED jaeger_shows_one_connected_trace_of_six_services: only in `tests/run --full`");
            return None;
        }
        let Some(program) = program() else {
            eprintln!(
                "SKIPPED jaeger_shows_one_connected_trace_of_six_services: no jaeger on PATH, and no Go to build it"
            );
            return None;
        };
        PORTS.iter().for_each(|port| drop(TcpListener::bind(port).expect("Jaeger's own port is free")));
        let child =
            Command::new(program).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("jaeger starts");
        let mut jaeger = Self(child);
        eventually("Jaeger answers", Duration::from_secs(60), || {
            assert_eq!(jaeger.0.try_wait().expect("it is our child"), None, "Jaeger ended");
            get("/api/services")
        });
        Some(jaeger)
    }

    fn trace(&self, id: &str) -> Option<Value> {
        let answer = get(&format!("/api/traces/{id}"))?;
        answer["data"].get(0).cloned()
    }

    fn spans(&self, id: &str) -> Option<Vec<Value>> {
        self.trace(id)?["spans"].as_array().cloned()
    }

    fn services(&self, id: &str) -> BTreeSet<String> {
        let trace = self.trace(id).unwrap_or_default();
        let processes = trace["processes"].as_object().cloned().unwrap_or_default();
        processes.values().filter_map(|process| process["serviceName"].as_str().map(str::to_owned)).collect()
    }
}

impl Drop for Jaeger {
    fn drop(&mut self) {
        if self.0.kill().and_then(|()| self.0.wait()).is_err() {
            eprintln!("jaeger was gone already");
        }
    }
}

fn orphans(spans: &[Value]) -> Vec<&Value> {
    let ids: BTreeSet<&str> = spans.iter().filter_map(|span| span["spanID"].as_str()).collect();
    spans.iter().filter(|span| parent_of(span).is_some_and(|parent| !ids.contains(parent))).collect()
}

fn parent_of(span: &Value) -> Option<&str> {
    let references = span["references"].as_array()?;
    let parent = references.iter().find(|reference| reference["refType"] == "CHILD_OF")?;
    parent["spanID"].as_str()
}

/// A page of Jaeger's API; none while it does not answer with JSON.
fn get(path: &str) -> Option<Value> {
    let mut stream = TcpStream::connect(QUERY).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    // HTTP 1.0: the page comes in one piece, and the connection ends with it.
    write!(stream, "GET {path} HTTP/1.0\r\nhost: {QUERY}\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

/// Jaeger on PATH, or in the cache, or built into it.
fn program() -> Option<PathBuf> {
    let cached = Path::new(env!("CARGO_TARGET_TMPDIR")).join("jaeger");
    if succeeds(Command::new("jaeger").arg("version")) {
        return Some(PathBuf::from("jaeger"));
    }
    if cached.exists() || build(&cached).is_some() { Some(cached) } else { None }
}

fn build(into: &Path) -> Option<()> {
    let output = Command::new("go").args(["mod", "download", "-json", MODULE]).output().ok()?;
    let module: Value = serde_json::from_slice(&output.stdout).ok()?;
    let mut command = Command::new("go");
    command.current_dir(module["Dir"].as_str()?).args(["build", "-o"]).arg(into).arg("./cmd/jaeger");
    succeeds(&mut command).then_some(())
}

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}
