//! Reads: snapshots, without write access, never stuck.

use nova_storage::Error;
use nova_storage::sqlite::{Database, Options};
use rusqlite::Connection;
use tempfile::TempDir;

fn open() -> (TempDir, Database) {
    let folder = TempDir::new().unwrap();
    let migrations = ["CREATE TABLE number (n INTEGER PRIMARY KEY)"];
    let options = Options { readers: 1, ..Options::default() };
    let database = Database::open_with(&folder.path().join("numbers.db"), &migrations, options).unwrap();
    (folder, database)
}

fn count(connection: &Connection) -> Result<u64, Error> {
    Ok(connection.query_row("SELECT count(*) FROM number", [], |row| row.get(0))?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_sees_one_snapshot_while_others_write() {
    let (_folder, database) = open();
    let (counted, first) = tokio::sync::oneshot::channel();
    let (resume, resumed) = std::sync::mpsc::channel::<()>();
    let reading = tokio::spawn({
        let database = database.clone();
        async move {
            let twice = move |connection: &Connection| -> Result<(u64, u64), Error> {
                let before = count(connection)?;
                counted.send(()).ok();
                resumed.recv().ok();
                Ok((before, count(connection)?))
            };
            database.read(twice).await
        }
    });
    first.await.unwrap();
    let insert = |connection: &Connection| -> Result<usize, Error> {
        Ok(connection.execute("INSERT INTO number (n) VALUES (1)", [])?)
    };
    database.write(insert).await.unwrap();
    resume.send(()).unwrap();
    assert_eq!(reading.await.unwrap().unwrap(), (0, 0));
    assert_eq!(database.read(count).await.unwrap(), 1);
}

#[tokio::test]
async fn a_read_cannot_write() {
    let (_folder, database) = open();
    let insert = |connection: &Connection| -> Result<usize, Error> {
        Ok(connection.execute("INSERT INTO number (n) VALUES (1)", [])?)
    };
    assert!(matches!(database.read(insert).await, Err(Error::Sqlite(_))));
}

#[tokio::test]
async fn a_panic_in_a_read_costs_no_connection() {
    let (_folder, database) = open();
    for _ in 0..3 {
        let broken = |_: &Connection| -> Result<u64, Error> { panic!("a bug in a caller") };
        assert!(matches!(database.read(broken).await, Err(Error::Panicked)));
    }
    assert_eq!(database.read(count).await.unwrap(), 0);
}
