//! `kill -9` of a process that writes: what it was told is there.

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use nova_storage::{Commit, Kv, SqliteKv};
use tempfile::TempDir;

/// Set for the child: the file that it writes to.
const CHILD_FILE: &str = "NOVA_STORAGE_CRASH_TEST_FILE";
const ACKNOWLEDGED: &str = "acknowledged ";
const WRITERS: usize = 8;

/// The child: this test in a process of its own. Without the variable there is nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_child_writes_until_it_is_killed() {
    let Some(file) = std::env::var_os(CHILD_FILE) else { return };
    let store = Arc::new(SqliteKv::open(Path::new(&file)).unwrap());
    let begin = store.revision().await.unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            for n in 0_u64.. {
                let key = format!("{begin}/{writer}/{n}");
                let commit = Commit::new()
                    .absent(&key)
                    .put(&key, key.clone())
                    .put(format!("last/{writer}"), key.clone());
                store.commit(commit).await.unwrap();
                // One write to the pipe, so that lines stay whole.
                let line = format!("\n{ACKNOWLEDGED}{key}\n");
                std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
            }
        });
    }
    writers.join_all().await;
}

fn start_child(file: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::the_child_writes_until_it_is_killed", "--nocapture"])
        .env(CHILD_FILE, file)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Kills the child after some acknowledgements, and returns all that it was given.
fn kill_after(mut child: Child, acknowledgements: usize) -> Vec<String> {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || {
        lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix(ACKNOWLEDGED).map(str::to_owned))
    };
    let mut keys: Vec<String> = std::iter::from_fn(&mut next).take(acknowledgements).collect();
    child.kill().unwrap();
    keys.extend(std::iter::from_fn(next));
    child.wait().unwrap();
    keys
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_the_writer_is_killed() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("kv.db");
    let mut acknowledged = Vec::new();
    for acknowledgements in [1, 40, 333, 1_500, 4_000] {
        let child = start_child(&file);
        acknowledged
            .extend(tokio::task::spawn_blocking(move || kill_after(child, acknowledgements)).await.unwrap());
    }
    assert!(acknowledged.len() >= 5_874);
    let store = SqliteKv::open(&file).unwrap();
    for key in acknowledged {
        let entry = store.get(&key).await.unwrap().unwrap_or_else(|| panic!("{key} is lost"));
        assert_eq!(entry.value, key.as_bytes());
    }
    // A commit is there whole or not at all: the log knows each key that is.
    for writer in 0..WRITERS {
        let last = store.get(&format!("last/{writer}")).await.unwrap();
        if let Some(last) = last {
            let key = String::from_utf8(last.value).unwrap();
            assert_eq!(store.get(&key).await.unwrap().unwrap().version, last.version);
        }
    }
}
