//! The full-text index in a SQLite file: FTS5, ranked by BM25, one index per namespace, so that the words of one
//! namespace neither slow down nor rank the hits of another.
//!
//! It holds copies of the records only, and may be deleted at any time while the daemon is down.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nova_storage::sqlite::{Database, Options};
use nova_storage::{Error, Revision};
use nova_types::{MemoryId, Namespace};
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Rows, ToSql, named_params};

use crate::memory::{Memory, Position, Search, words};

const MIGRATIONS: &[&str] = &["
    CREATE TABLE position (only INTEGER PRIMARY KEY CHECK (only = 0), store TEXT NOT NULL, revision INTEGER NOT NULL);
    CREATE TABLE namespace (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
    CREATE TABLE memory (
        number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, namespace INTEGER NOT NULL, record BLOB NOT NULL
    );
    CREATE INDEX memory_by_time ON memory (namespace, id);
    CREATE TABLE label (
        memory INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (memory, key, value)
    ) WITHOUT ROWID;
"];

/// A page ends before its records exceed this many bytes together: clients of gRPC take 4 MiB by default.
const PAGE_BYTES: usize = 3 << 20;

/// A page of a search.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Records as they are stored, and their scores.
    pub(crate) records: Vec<(Vec<u8>, f64)>,
    /// Whether there are more.
    pub(crate) more: bool,
}

/// The index.
#[derive(Clone, Debug)]
pub(crate) struct SearchIndex {
    database: Database,
}

impl SearchIndex {
    /// Opens the index at `path`; one that cannot be read is replaced by an empty one. Blocks: for the start.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let open = || Database::open_with(path, MIGRATIONS, Options { readers: 2, ..Options::default() });
        let database = match open() {
            Err(error) if is_unreadable(&error) => {
                tracing::warn!(%error, "the index of memories cannot be read and is made anew");
                discard(path)
                    .map_err(|error| Error::Damaged { what: format!("{}: {error}", path.display()) })?;
                open()?
            }
            opened => opened?,
        };
        Ok(Self { database })
    }

    /// The revision of `store` up to which the index is complete; none when it must be filled anew.
    pub(crate) async fn position(&self, store: String) -> Result<Option<Revision>, Error> {
        let sql = "SELECT revision FROM position WHERE store = ?1";
        let read = move |connection: &Connection| -> Result<Option<i64>, Error> {
            Ok(connection.query_row(sql, [store], |row| row.get(0)).optional()?)
        };
        Ok(self.database.read(read).await?.and_then(|revision| u64::try_from(revision).ok()))
    }

    /// Empties the index; it has no position then.
    pub(crate) async fn clear(&self) -> Result<(), Error> {
        self.database.write(clear).await
    }

    /// Adds or replaces memories (each with its record), removes those that are gone, and notes the position.
    pub(crate) async fn apply(
        &self,
        memories: Vec<(Memory, Vec<u8>)>,
        gone: Vec<MemoryId>,
        position: Option<(String, Revision)>,
    ) -> Result<(), Error> {
        let apply = move |connection: &Connection| -> Result<(), Error> {
            gone.iter().try_for_each(|id| remove(connection, id))?;
            memories.iter().try_for_each(|(memory, record)| replace(connection, memory, record))?;
            position.map_or(Ok(()), |(store, revision)| note(connection, &store, revision))
        };
        self.database.write(apply).await
    }

    /// A page of a search: records and scores, best first; without a query the newest first.
    pub(crate) async fn search(&self, search: Search) -> Result<Found, Error> {
        self.database
            .read(move |connection| match number_of(connection, &search.namespace)? {
                None => Ok(Found::default()),
                Some(namespace) if search.query.is_empty() => newest(connection, namespace, &search),
                Some(namespace) => best(connection, namespace, &search),
            })
            .await
    }
}

fn is_unreadable(error: &Error) -> bool {
    let of = |source: &rusqlite::Error| {
        matches!(source.sqlite_error_code(), Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt))
    };
    match error {
        Error::SchemaTooNew { .. } => true,
        Error::Open { source, .. } | Error::Sqlite(source) => of(source),
        _ => false,
    }
}

fn discard(path: &Path) -> io::Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        match fs::remove_file(PathBuf::from(file)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn clear(connection: &Connection) -> Result<(), Error> {
    let mut statement = connection.prepare("SELECT number FROM namespace")?;
    let numbers: Vec<i64> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    drop(statement);
    for number in numbers {
        connection.execute_batch(&format!("DROP TABLE words_{number}"))?;
    }
    let tables = "DELETE FROM position; DELETE FROM label; DELETE FROM memory; DELETE FROM namespace;";
    Ok(connection.execute_batch(tables)?)
}

fn note(connection: &Connection, store: &str, revision: Revision) -> Result<(), Error> {
    let revision = i64::try_from(revision).expect("a store counts its commits one by one");
    let sql = "INSERT OR REPLACE INTO position (only, store, revision) VALUES (0, ?1, ?2)";
    connection.prepare_cached(sql)?.execute((store, revision))?;
    Ok(())
}

fn remove(connection: &Connection, id: &MemoryId) -> Result<(), Error> {
    let sql = "SELECT number, namespace FROM memory WHERE id = ?1";
    let known: Option<(i64, i64)> = connection
        .prepare_cached(sql)?
        .query_row([id.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((number, namespace)) = known else { return Ok(()) };
    connection
        .prepare_cached(&format!("DELETE FROM words_{namespace} WHERE rowid = ?1"))?
        .execute([number])?;
    connection.prepare_cached("DELETE FROM label WHERE memory = ?1")?.execute([number])?;
    connection.prepare_cached("DELETE FROM memory WHERE number = ?1")?.execute([number])?;
    Ok(())
}

fn replace(connection: &Connection, memory: &Memory, record: &[u8]) -> Result<(), Error> {
    remove(connection, &memory.id)?;
    let namespace = opened(connection, &memory.content.namespace)?;
    connection
        .prepare_cached("INSERT INTO memory (id, namespace, record) VALUES (?1, ?2, ?3)")?
        .execute((memory.id.as_bytes(), namespace, record))?;
    let number = connection.last_insert_rowid();
    connection
        .prepare_cached(&format!("INSERT INTO words_{namespace} (rowid, text) VALUES (?1, ?2)"))?
        .execute((number, &memory.content.text))?;
    label(connection, number, &memory.content.labels)
}

fn label(connection: &Connection, number: i64, labels: &BTreeMap<String, String>) -> Result<(), Error> {
    let mut insert =
        connection.prepare_cached("INSERT INTO label (memory, key, value) VALUES (?1, ?2, ?3)")?;
    for (key, value) in labels {
        insert.execute((number, key, value))?;
    }
    Ok(())
}

fn number_of(connection: &Connection, namespace: &Namespace) -> Result<Option<i64>, Error> {
    let mut statement = connection.prepare_cached("SELECT number FROM namespace WHERE name = ?1")?;
    Ok(statement.query_row([namespace.as_ref()], |row| row.get(0)).optional()?)
}

/// The number of a namespace, which gets an index of its own when it has none.
fn opened(connection: &Connection, namespace: &Namespace) -> Result<i64, Error> {
    if let Some(number) = number_of(connection, namespace)? {
        return Ok(number);
    }
    connection.execute("INSERT INTO namespace (name) VALUES (?1)", [namespace.as_ref()])?;
    let number = connection.last_insert_rowid();
    connection.execute_batch(&format!(
        "CREATE VIRTUAL TABLE words_{number} USING fts5(
            text, content = '', contentless_delete = 1, tokenize = 'porter unicode61 remove_diacritics 2'
        )"
    ))?;
    Ok(number)
}

fn newest(connection: &Connection, namespace: i64, search: &Search) -> Result<Found, Error> {
    let before = match &search.after {
        Some(Position::Memory(id)) => id.as_bytes().to_vec(),
        _ => vec![0xff; 16],
    };
    let sql = format!(
        "SELECT record, 0.0 FROM memory WHERE namespace = :namespace AND id < :before {} ORDER BY id DESC LIMIT :limit",
        with_labels("number", search.labels.len()),
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let limit = count(search.limit);
    let named = named_params! { ":namespace": namespace, ":before": before, ":limit": limit };
    found(&mut statement, named, search)
}

fn best(connection: &Connection, namespace: i64, search: &Search) -> Result<Found, Error> {
    let words: Vec<String> = words(&search.query).into_iter().map(|word| format!("\"{word}\"")).collect();
    if words.is_empty() {
        return Ok(Found::default());
    }
    let skip = match search.after {
        Some(Position::Hits(hits)) => i64::from(hits),
        _ => 0,
    };
    // Ranked by number alone: records are read for the page, not for all that match.
    let sql = format!(
        "SELECT record, score FROM (
             SELECT rowid AS hit, -bm25(words_{namespace}) AS score FROM words_{namespace}
             WHERE words_{namespace} MATCH :words {}
             ORDER BY score DESC, hit DESC LIMIT :limit OFFSET :skip
         ) JOIN memory ON number = hit ORDER BY score DESC, hit DESC",
        with_labels(&format!("words_{namespace}.rowid"), search.labels.len()),
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let (words, limit) = (words.join(" OR "), count(search.limit));
    found(&mut statement, named_params! { ":words": words, ":limit": limit, ":skip": skip }, search)
}

/// One condition on the memory `number` per label, with the parameters `:k0`, `:v0`, `:k1` and so on.
fn with_labels(number: &str, labels: usize) -> String {
    let one = |i| {
        format!(
            "AND EXISTS (SELECT 1 FROM label WHERE label.memory = {number} AND key = :k{i} AND value = :v{i}) "
        )
    };
    (0..labels).map(one).collect()
}

fn found(
    statement: &mut rusqlite::CachedStatement<'_>,
    named: &[(&str, &dyn ToSql)],
    search: &Search,
) -> Result<Found, Error> {
    let names: Vec<_> =
        (0..search.labels.len()).map(|index| (format!(":k{index}"), format!(":v{index}"))).collect();
    let mut parameters = named.to_vec();
    for ((key_name, value_name), (key, value)) in names.iter().zip(&search.labels) {
        parameters.push((key_name, key));
        parameters.push((value_name, value));
    }
    page(statement.query(parameters.as_slice())?, search.limit)
}

/// Takes rows as long as they fit into the page.
fn page(mut rows: Rows<'_>, limit: usize) -> Result<Found, Error> {
    let mut found = Found::default();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let record: Vec<u8> = row.get(0)?;
        bytes += record.len();
        if found.records.len() == limit || (bytes > PAGE_BYTES && !found.records.is_empty()) {
            found.more = true;
            break;
        }
        found.records.push((record, row.get(1)?));
    }
    Ok(found)
}

/// One row more than the page holds, to know whether there are more.
fn count(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1)
}
