//! Opening files: migrations, pragmas, refusals.

use std::path::PathBuf;

use nova_storage::Error;
use nova_storage::sqlite::open_writer;
use rusqlite::Connection;
use tempfile::TempDir;

const FIRST: &str = "CREATE TABLE a (n INTEGER); INSERT INTO a VALUES (1);";
const SECOND: &str = "ALTER TABLE a ADD COLUMN m INTEGER NOT NULL DEFAULT 2;";

fn file() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a file with spaces, 100%?.db");
    (folder, path)
}

fn pragma(connection: &Connection, name: &str) -> String {
    let read = |row: &rusqlite::Row<'_>| row.get::<_, rusqlite::types::Value>(0);
    let value = connection.query_row(&format!("PRAGMA {name}"), [], read).unwrap();
    match value {
        rusqlite::types::Value::Integer(number) => number.to_string(),
        rusqlite::types::Value::Text(text) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_writer_syncs_every_commit_to_a_write_ahead_log() {
    let (_folder, path) = file();
    let connection = open_writer(&path, &[]).unwrap();
    assert_eq!(pragma(&connection, "journal_mode"), "wal");
    assert_eq!(pragma(&connection, "synchronous"), "2");
    assert_eq!(pragma(&connection, "wal_autocheckpoint"), "1000");
}

#[test]
fn each_migration_runs_once() {
    let (_folder, path) = file();
    drop(open_writer(&path, &[FIRST]).unwrap());
    drop(open_writer(&path, &[FIRST]).unwrap());
    let connection = open_writer(&path, &[FIRST, SECOND]).unwrap();
    let rows: Vec<(u64, u64)> = connection
        .prepare("SELECT n, m FROM a")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(rows, [(1, 2)]);
    assert_eq!(pragma(&connection, "user_version"), "2");
}

#[test]
fn a_migration_that_fails_leaves_the_version_before_it() {
    let (_folder, path) = file();
    let broken = "CREATE TABLE b (n INTEGER); INSERT INTO nowhere VALUES (1);";
    assert!(matches!(open_writer(&path, &[FIRST, broken]), Err(Error::Sqlite(_))));
    let connection = open_writer(&path, &[FIRST, "CREATE TABLE b (n INTEGER)"]).unwrap();
    assert_eq!(pragma(&connection, "user_version"), "2");
}

#[test]
fn a_file_of_a_newer_program_is_refused() {
    let (_folder, path) = file();
    drop(open_writer(&path, &[FIRST, SECOND]).unwrap());
    let refusal = open_writer(&path, &[FIRST]).unwrap_err();
    assert!(matches!(refusal, Error::SchemaTooNew { found: 2, known: 1, .. }));
    assert!(!refusal.is_retryable());
}

#[test]
fn a_file_that_is_no_database_is_refused_with_its_name() {
    let (_folder, path) = file();
    std::fs::write(&path, "certainly not a database, but long enough to look at".repeat(100)).unwrap();
    let refusal = open_writer(&path, &[FIRST]).unwrap_err();
    assert!(matches!(&refusal, Error::Open { path: named, .. } if *named == path));
    let nowhere = path.join("missing/folder.db");
    assert!(matches!(open_writer(&nowhere, &[]), Err(Error::Open { .. })));
}
