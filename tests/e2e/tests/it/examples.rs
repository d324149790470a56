//! The examples, run as their pages say: a worker and a producer in each language.
#![expect(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nova_testkit::{Nova, eventually};
use serde_json::{Value, json};

use crate::python;

#[test]
fn the_rust_example_counts_words() {
    count(rust("words-worker"), || rust("words-producer"));
}

/// A program of the Rust example.
fn rust(name: &str) -> Command {
    let own = std::env::current_exe().expect("an executable has a path");
    let folder = own.ancestors().nth(2).expect("tests lie in target/<profile>/deps");
    let program = folder.join(name);
    assert!(program.exists(), "{} is missing: `cargo build -p nova-examples`", program.display());
    Command::new(program)
}

#[test]
fn the_python_example_counts_words() {
    let Some(python) = python::environment() else {
        return skip("the_python_example_counts_words", "no python3 with venv and grpcio-tools");
    };
    let folder = copy("python");
    must(in_folder(Path::new("./stubs.sh"), &folder).env("PYTHON", &python));
    let script = |name: &str| {
        let mut command = in_folder(&python, &folder);
        command.arg(name);
        command
    };
    let nova = count(script("worker.py"), || script("producer.py"));
    stops_when_its_task_is_cancelled(&nova, script("worker.py"));
    share_a_queue(&nova, [script("worker.py"), rust("words-worker")], || script("producer.py"));
    ends_with_a_forged_token(&nova, script("worker.py"));
}

#[test]
fn the_typescript_example_counts_words() {
    const NAME: &str = "the_typescript_example_counts_words";
    if !is_full() {
        return skip(NAME, "only in `tests/run --full`");
    }
    let folder = copy("typescript");
    let npm = |args: &[&str]| {
        let mut command = in_folder(Path::new("npm"), &folder);
        command.args(args);
        command
    };
    if !succeeds(&mut npm(&["install", "--no-audit", "--no-fund"])) {
        return skip(NAME, "no npm that can install");
    }
    must(&mut npm(&["run", "stubs"]));
    must(&mut npm(&["run", "check"]));
    // Not through npm, which would not hand SIGTERM on.
    let script = |name: &str| {
        let mut command = in_folder(Path::new("node"), &folder);
        command.args(["--import", "tsx", name]);
        command
    };
    let nova = count(script("src/worker.ts"), || script("src/producer.ts"));
    stops_when_its_task_is_cancelled(&nova, script("src/worker.ts"));
    ends_with_a_forged_token(&nova, script("src/worker.ts"));
}

#[test]
fn the_go_example_counts_words() {
    const NAME: &str = "the_go_example_counts_words";
    if !is_full() {
        return skip(NAME, "only in `tests/run --full`");
    }
    let Some(python) = python::environment() else {
        return skip(NAME, "no protoc, and no Python that could bring one");
    };
    if !succeeds(Command::new("go").arg("version")) {
        return skip(NAME, "no Go");
    }
    let folder = copy("go");
    let mut stubs = in_folder(Path::new("./stubs.sh"), &folder);
    must(stubs.env("PROTOC", format!("{} -m grpc_tools.protoc", python.display())));
    must(in_folder(Path::new("go"), &folder).args([
        "build",
        "-o",
        "generated/bin/",
        "./worker",
        "./producer",
    ]));
    let program = |name: &str| Command::new(folder.join("generated/bin").join(name));
    let nova = count(program("worker"), || program("producer"));
    stops_when_its_task_is_cancelled(&nova, program("worker"));
    ends_with_a_forged_token(&nova, program("worker"));
}

/// Runs both against a mesh: the task fails once, is tried again and completes, and the worker drains when it is told to
/// end. The same text sent again is the same task. A producer without a text says how it is used. Answers the mesh, which still runs.
#[track_caller]
fn count(worker: Command, producer: impl Fn() -> Command) -> Nova {
    let nova = Nova::new();
    nova.run(&["up"]).ok();
    let token = nova.run(&["identity", "token", "worker/words", "--role", "worker"]).ok();
    fails(Working::start(&nova, producer(), &token), "usage: ");
    let worker = Working::start(&nova, worker, &token);
    for _ in 0..2 {
        produces(of_the_mesh(&nova, producer(), &token));
    }
    let stats = nova.run(&["--json", "queue", "stats", "words"]).json();
    assert_eq!(stats["completed"], 1, "the same text is the same task: {stats}");
    let told = worker.end();
    assert!(told.contains("drained"), "{told}");
    nova
}

/// Workers in two languages go on from each other's checkpoints.
#[track_caller]
fn share_a_queue(nova: &Nova, workers: [Command; 2], producer: impl Fn() -> Command) {
    let token = nova.run(&["identity", "token", "worker/words", "--role", "worker"]).ok();
    let workers = workers.map(|worker| Working::start(nova, worker, &token));
    for number in 0..8 {
        let text = format!("The {number} and the dog");
        produces_of(of_the_mesh(nova, producer(), &token), &text);
    }
    for worker in workers {
        worker.end();
    }
}

/// A producer is told what became of its task.
#[track_caller]
fn produces(producer: Command) {
    produces_of(producer, "The cat and the dog");
}

#[track_caller]
fn produces_of(mut producer: Command, text: &str) {
    let output = producer.arg(text).output().expect("a producer starts");
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}\n{errors}");
    let (attempt, result) = text.trim().split_once(": ").expect("attempt and result");
    let result: Value = serde_json::from_str(result).expect("a result in JSON");
    assert_eq!((attempt, result), ("attempt 2", json!({"words": 5, "top": "the", "times": 2})));
}

/// A worker that has lost its lease works no further on the task: this one has so many words that it would take far longer
/// than the test waits.
#[track_caller]
fn stops_when_its_task_is_cancelled(nova: &Nova, worker: Command) {
    let token = nova.run(&["identity", "token", "worker/words", "--role", "worker"]).ok();
    let payload = json!({"text": "a ".repeat(50_000)}).to_string();
    let stored =
        nova.run(&["--json", "queue", "enqueue", "words", "words.count", "--payload", &payload]).json();
    let id = stored["id"].as_str().expect("a stored task has an id").to_owned();
    let worker = Working::start(nova, worker, &token);
    let leased = || nova.run(&["--json", "queue", "show", &id]).json()["state"] == "leased";
    eventually("the task is leased", Duration::from_secs(60), || leased().then_some(()));
    nova.run(&["queue", "cancel", &id]).ok();
    let told = worker.end();
    assert!(told.contains("is lost") && told.contains("drained"), "{told}");
}

/// A worker that the queue does not know says so and ends, instead of asking for ever.
#[track_caller]
fn ends_with_a_forged_token(nova: &Nova, worker: Command) {
    fails(Working::start(nova, worker, "forged"), "unauthenticated");
}

/// It ends by itself, without success, and says why.
#[track_caller]
fn fails(process: Working, why: &str) {
    let (status, told) = process.wait();
    assert!(!status.success() && told.to_lowercase().contains(why), "{status}: {told}");
    assert!(!told.contains("Traceback"), "{told}");
}

fn of_the_mesh(nova: &Nova, mut command: Command, token: &str) -> Command {
    nova.at_home(&mut command).env("NOVA_TOKEN", token.trim());
    command
}

/// A process of an example; killed when a test fails before its end.
struct Working(Child);

impl Working {
    fn start(nova: &Nova, command: Command, token: &str) -> Self {
        let mut command = of_the_mesh(nova, command, token);
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(piped.spawn().expect("an example starts"))
    }

    /// Tells it to end, and answers all that it said.
    fn end(self) -> String {
        nova_testkit::send("TERM", self.0.id());
        let (status, told) = self.wait();
        assert!(status.success(), "{status}: {told}");
        told
    }

    /// Waits for its end, and answers all that it said.
    fn wait(mut self) -> (ExitStatus, String) {
        let status = eventually("an example ends", Duration::from_secs(60), || self.0.try_wait().unwrap());
        let read = |pipe: &mut dyn std::io::Read| std::io::read_to_string(pipe).unwrap();
        let told = read(self.0.stdout.as_mut().unwrap()) + &read(self.0.stderr.as_mut().unwrap());
        (status, told)
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        // One that has ended needs no kill.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A copy of an example beside a link to the contracts, so that nothing is generated among the sources. What was
/// installed there is kept from run to run.
fn copy(language: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = scratch.join("examples").join(language);
    copy_sources(&root.join("examples").join(language), &folder);
    let proto = scratch.join("proto");
    // The link may be made by another test meanwhile; and another checkout may have shared this target folder.
    if fs::read_link(&proto).ok() != Some(root.join("proto")) {
        drop(fs::remove_file(&proto));
        drop(std::os::unix::fs::symlink(root.join("proto"), &proto));
    }
    folder
}

fn copy_sources(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        if ["generated", "node_modules", ".venv"].iter().any(|made| name == *made) {
            continue;
        }
        if path.is_dir() {
            copy_sources(&path, &to.join(name));
        } else {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

fn in_folder(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder);
    command
}

fn is_full() -> bool {
    std::env::var_os("NOVA_TEST_FULL").is_some()
}

fn skip(test: &str, why: &str) {
    eprintln!("SKIPPED {test}: {why}");
}

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

#[track_caller]
fn must(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {text}\n{errors}");
}
