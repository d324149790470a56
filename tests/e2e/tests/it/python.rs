//! A worker in another language, made from the `.proto` files alone.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use nova_testkit::Nova;

#[test]
fn a_python_client_enqueues_leases_heartbeats_and_completes() {
    let Some(python) = environment() else {
        eprintln!(
            "SKIPPED a_python_client_enqueues_leases_heartbeats_and_completes: no python3 with venv and grpcio-tools"
        );
        return;
    };
    let nova = Nova::new();
    nova.run(&["up"]).ok();
    let token = nova.run(&["identity", "token", "worker/py", "--role", "worker"]).ok();
    let client = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/client.py");
    let output = Command::new(&python)
        .arg(client)
        .arg(proto_root())
        .arg(nova.folder())
        .arg(nova.endpoints().queue.0.trim_start_matches("https://"))
        .arg(nova.home().join("operator/bundle.pem"))
        .env("NOVA_TOKEN", token.trim())
        .output()
        .expect("python starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.ends_with("a whole life\n"), "{text}");
}

fn proto_root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../proto")
}

/// A virtual environment with grpcio-tools, made once in the target folder; none where Python is missing.
pub(crate) fn environment() -> Option<PathBuf> {
    static MADE: LazyLock<Option<PathBuf>> = LazyLock::new(make_environment);
    MADE.clone()
}

fn make_environment() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
    let python = folder.join("bin/python");
    let good = |python: &Path| {
        succeeds(Command::new(python).args(["-c", "import grpc_tools, grpc_health, grpc_reflection"]))
    };
    if good(&python) {
        return Some(python);
    }
    let made = succeeds(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder));
    let packages = ["grpcio-tools", "grpcio-health-checking", "grpcio-reflection"];
    let installed =
        made && succeeds(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(packages));
    (installed && good(&python)).then_some(python)
}

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}
