//! Many callers, few commits, and each caller's own result.

use std::sync::mpsc;

use nova_storage::Error;
use nova_storage::sqlite::{Database, Options};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::task::JoinSet;

const MIGRATIONS: &[&str] = &["CREATE TABLE number (n INTEGER PRIMARY KEY)"];

fn open(options: Options) -> (TempDir, Database) {
    let folder = TempDir::new().unwrap();
    let database = Database::open_with(&folder.path().join("numbers.db"), MIGRATIONS, options).unwrap();
    (folder, database)
}

fn insert(n: u64) -> impl FnOnce(&Connection) -> Result<u64, Error> + Send + 'static {
    move |connection| {
        connection.execute("INSERT INTO number (n) VALUES (?1)", [n])?;
        Ok(n)
    }
}

async fn numbers(database: &Database) -> Vec<u64> {
    let select = |connection: &Connection| -> Result<Vec<u64>, Error> {
        let mut statement = connection.prepare("SELECT n FROM number ORDER BY n")?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    };
    database.read(select).await.unwrap()
}

/// Holds the writer inside a transaction until the sender is dropped or used.
async fn hold_the_writer(database: &Database) -> (mpsc::Sender<()>, JoinSet<Result<(), Error>>) {
    let (release, released) = mpsc::channel::<()>();
    let (started, held) = tokio::sync::oneshot::channel();
    let database = database.clone();
    let mut holder = JoinSet::new();
    holder.spawn(async move {
        let hold = move |_: &Connection| -> Result<(), Error> {
            started.send(()).ok();
            released.recv().ok();
            Ok(())
        };
        database.write(hold).await
    });
    held.await.unwrap();
    (release, holder)
}

/// Starts a write, and returns once it stands in the writer's buffer.
async fn enqueue(
    writes: &mut JoinSet<Result<u64, Error>>,
    database: &Database,
    write: impl FnOnce(&Connection) -> Result<u64, Error> + Send + 'static,
) {
    let database = database.clone();
    let (polled, buffered) = tokio::sync::oneshot::channel();
    writes.spawn(async move {
        let mut answer = Box::pin(database.write(write));
        // The first poll puts the write into the buffer.
        let early =
            std::future::poll_fn(|context| std::task::Poll::Ready(answer.as_mut().poll(context))).await;
        polled.send(()).ok();
        match early {
            std::task::Poll::Ready(result) => result,
            std::task::Poll::Pending => answer.await,
        }
    });
    buffered.await.unwrap();
}

#[tokio::test]
async fn writes_that_wait_for_a_commit_go_down_together() {
    let (_folder, database) = open(Options::default());
    let (release, holder) = hold_the_writer(&database).await;
    let mut writes = JoinSet::new();
    for n in 0..100 {
        enqueue(&mut writes, &database, insert(n)).await;
    }
    drop(release);
    assert!(writes.join_all().await.iter().all(Result::is_ok));
    assert!(holder.join_all().await.iter().all(Result::is_ok));
    let statistics = database.statistics();
    assert_eq!((statistics.writes, statistics.commits), (101, 2));
    assert_eq!(numbers(&database).await.len(), 100);
}

#[tokio::test]
async fn a_failing_write_leaves_no_trace_and_spares_its_group() {
    let (_folder, database) = open(Options::default());
    let (release, _holder) = hold_the_writer(&database).await;
    let mut writes = JoinSet::new();
    enqueue(&mut writes, &database, insert(1)).await;
    enqueue(&mut writes, &database, |connection| {
        insert(2)(connection)?;
        insert(1)(connection)
    })
    .await;
    enqueue(&mut writes, &database, |connection| {
        insert(3)(connection)?;
        panic!("a bug in a caller")
    })
    .await;
    enqueue(&mut writes, &database, insert(4)).await;
    drop(release);
    let results = writes.join_all().await;
    assert_eq!(results.iter().filter(|result| matches!(result, Err(Error::Sqlite(_)))).count(), 1);
    assert_eq!(results.iter().filter(|result| matches!(result, Err(Error::Panicked))).count(), 1);
    assert_eq!(numbers(&database).await, [1, 4]);
}

#[tokio::test]
async fn a_write_that_ends_the_transaction_fails_its_group_and_the_next_works() {
    let (_folder, database) = open(Options::default());
    let rogue = |connection: &Connection| -> Result<u64, Error> {
        insert(1)(connection)?;
        Ok(connection.execute_batch("ROLLBACK").map(|()| 1)?)
    };
    assert!(matches!(database.write(rogue).await, Err(Error::Sqlite(_))));
    assert_eq!(database.write(insert(2)).await.unwrap(), 2);
    assert_eq!(numbers(&database).await, [2]);
}

#[tokio::test]
async fn a_full_disk_fails_the_write_and_the_next_one_with_room_works() {
    let (_folder, database) = open(Options::default());
    let fill = |connection: &Connection| -> Result<u64, Error> {
        connection.execute_batch(
            "CREATE TABLE ballast (b BLOB); INSERT INTO ballast VALUES (zeroblob(10000000))",
        )?;
        Ok(0)
    };
    let limit = |pages: u64| {
        move |connection: &Connection| -> Result<u64, Error> {
            Ok(connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get(0))?)
        }
    };
    database.write(limit(20)).await.unwrap();
    assert!(database.write(fill).await.unwrap_err().is_retryable());
    assert_eq!(database.write(insert(1)).await.unwrap(), 1);
    database.write(limit(1_000_000)).await.unwrap();
    database.write(fill).await.unwrap();
    assert_eq!(numbers(&database).await, [1]);
}

#[tokio::test]
async fn a_full_buffer_refuses_and_says_that_it_can_be_tried_again() {
    let (_folder, database) = open(Options { buffer: 2, ..Options::default() });
    let (release, _holder) = hold_the_writer(&database).await;
    let mut writes = JoinSet::new();
    enqueue(&mut writes, &database, insert(1)).await;
    enqueue(&mut writes, &database, insert(2)).await;
    let refusal = database.write(insert(3)).await.unwrap_err();
    assert!(matches!(refusal, Error::Overloaded { capacity: 2 }));
    assert!(refusal.is_retryable());
    drop(release);
    writes.join_all().await;
    assert_eq!(numbers(&database).await, [1, 2]);
}

#[tokio::test]
async fn a_write_that_nobody_waits_for_still_happens_and_is_announced() {
    let (_folder, database) = open(Options::default());
    let (release, _holder) = hold_the_writer(&database).await;
    let (announce, announced) = tokio::sync::oneshot::channel();
    let mut write = Box::pin(database.write_then(insert(7), |n| {
        announce.send(*n).ok();
    }));
    let polled = std::future::poll_fn(|context| std::task::Poll::Ready(write.as_mut().poll(context))).await;
    assert!(polled.is_pending());
    drop(write);
    drop(release);
    assert_eq!(announced.await, Ok(7));
    assert_eq!(numbers(&database).await, [7]);
}

#[tokio::test]
async fn closing_answers_what_was_accepted() {
    let (folder, database) = open(Options::default());
    database.write(insert(1)).await.unwrap();
    database.close().await;
    let files: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files, ["numbers.db"]);
}
