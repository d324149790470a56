//! Spans in SQLite, bounded: the oldest give way.
//!
//! A row is a batch as it came, for spans come by the ten thousand a second and hardly one is ever looked at. Who does
//! look pays for it: one trace is found by its id among the bytes, and a list of traces reads all.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use anyhow::Context as _;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use serde::Serialize;

use super::spans::{Span, spans_of};

/// Bytes that are kept: about half a million spans.
const KEPT: u64 = 128 << 20;

const SCHEMA: &str = "
    DROP TABLE IF EXISTS span;
    CREATE TABLE IF NOT EXISTS batch (id INTEGER PRIMARY KEY, spans BLOB NOT NULL);
    DROP TABLE IF EXISTS not_forwarded;
    CREATE TABLE not_forwarded (batches INTEGER NOT NULL);
    INSERT INTO not_forwarded VALUES (0);
";

/// The store of traces.
#[derive(Debug)]
pub(crate) struct Traces(Mutex<Writer>);

#[derive(Debug)]
struct Writer {
    connection: Connection,
    /// Bytes in the store.
    bytes: u64,
    /// Most bytes that stay in it.
    kept: u64,
}

/// What a list of traces shows of each.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TraceSummary {
    /// 32 hex digits.
    pub(crate) trace_id: String,
    /// Name of its first span.
    pub(crate) root: String,
    /// Start, nanoseconds since the epoch.
    pub(crate) start_ns: i64,
    /// From the first start to the last end, nanoseconds.
    pub(crate) duration_ns: i64,
    /// Spans.
    pub(crate) spans: i64,
    /// Spans that ended in an error.
    pub(crate) errors: i64,
}

impl Traces {
    /// Opens the store for writing; made when missing. A file that is damaged is set aside: a mesh can do without old
    /// traces.
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        let unusable = match Self::bounded(path, KEPT) {
            Err(error) if is_damage(&error) => error,
            opened => return opened.with_context(|| format!("cannot open {}", path.display())),
        };
        let aside = path.with_extension("db.damaged");
        tracing::warn!(%unusable, aside = %aside.display(), "the store of traces is damaged: it is set aside");
        fs::rename(path, &aside).with_context(|| format!("cannot set {} aside", path.display()))?;
        for log in ["db-wal", "db-shm"] {
            fs::remove_file(path.with_extension(log)).ok();
        }
        Self::bounded(path, KEPT).with_context(|| format!("cannot make {}", path.display()))
    }

    fn bounded(path: &Path, kept: u64) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.execute_batch(SCHEMA)?;
        let bytes = connection
            .query_row("SELECT coalesce(sum(length(spans)), 0) FROM batch", [], |row| row.get(0))?;
        Ok(Self(Mutex::new(Writer { connection, bytes, kept })))
    }

    /// Opens the store for reading; also while a mesh writes it.
    pub(crate) fn open(path: &Path) -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        Ok(Self(Mutex::new(Writer { connection, bytes: 0, kept: KEPT })))
    }

    /// Stores a batch, an `ExportTraceServiceRequest`; the oldest give way to it.
    pub(crate) fn insert(&self, batch: &[u8]) -> rusqlite::Result<()> {
        let mut writer = self.0.lock().expect("nobody panics while holding it");
        let transaction = writer.connection.transaction()?;
        transaction.prepare_cached("INSERT INTO batch (spans) VALUES (?1)")?.execute([batch])?;
        transaction.commit()?;
        writer.bytes += batch.len() as u64;
        while writer.bytes > writer.kept {
            writer.remove_oldest()?;
        }
        Ok(())
    }

    /// Batches that another collector should have got, and did not, since the mesh is up.
    pub(crate) fn not_forwarded(&self) -> rusqlite::Result<u64> {
        let writer = self.0.lock().expect("nobody panics while holding it");
        writer.connection.query_row("SELECT batches FROM not_forwarded", [], |row| row.get(0))
    }

    /// Notes how many there are.
    pub(crate) fn set_not_forwarded(&self, batches: u64) -> rusqlite::Result<()> {
        let writer = self.0.lock().expect("nobody panics while holding it");
        writer.connection.execute("UPDATE not_forwarded SET batches = ?1", [batches]).map(drop)
    }

    /// The spans of a trace, by start.
    pub(crate) fn spans(&self, trace_id: &str) -> rusqlite::Result<Vec<Span>> {
        let Ok(id) = hex::decode(trace_id) else { return Ok(Vec::new()) };
        let mut spans = Vec::new();
        self.read("SELECT spans FROM batch WHERE instr(spans, ?1) > 0", [id], |span| {
            if span.trace_id == trace_id {
                spans.push(span);
            }
        })?;
        spans.sort_by_key(|span| span.start_ns);
        Ok(spans)
    }

    /// The latest traces that are `wanted`, newest first.
    pub(crate) fn latest(
        &self,
        limit: usize,
        wanted: impl Fn(&TraceSummary) -> bool,
    ) -> rusqlite::Result<Vec<TraceSummary>> {
        let mut traces: HashMap<String, TraceSummary> = HashMap::new();
        self.read("SELECT spans FROM batch", [], |span| {
            let trace = traces.entry(span.trace_id.clone()).or_insert_with(|| TraceSummary::begun_by(&span));
            trace.add(&span);
        })?;
        let mut latest: Vec<TraceSummary> = traces.into_values().filter(wanted).collect();
        latest.sort_by_key(|trace| std::cmp::Reverse(trace.start_ns));
        latest.truncate(limit);
        Ok(latest)
    }

    /// Each span of the batches that `query` answers, once: a batch can have come twice.
    fn read(
        &self,
        query: &str,
        parameters: impl rusqlite::Params,
        mut each: impl FnMut(Span),
    ) -> rusqlite::Result<()> {
        let writer = self.0.lock().expect("nobody panics while holding it");
        let mut query = writer.connection.prepare(query)?;
        let mut rows = query.query(parameters)?;
        let mut seen = HashSet::new();
        while let Some(row) = rows.next()? {
            let batch = ExportTraceServiceRequest::decode(row.get_ref(0)?.as_blob()?);
            for span in spans_of(&batch.unwrap_or_default()) {
                if seen.insert((span.trace_id.clone(), span.span_id.clone())) {
                    each(span);
                }
            }
        }
        Ok(())
    }
}

fn is_damage(error: &rusqlite::Error) -> bool {
    let damage = [ErrorCode::NotADatabase, ErrorCode::DatabaseCorrupt];
    error.sqlite_error_code().is_some_and(|code| damage.contains(&code))
}

impl Writer {
    fn remove_oldest(&mut self) -> rusqlite::Result<()> {
        let oldest = "DELETE FROM batch WHERE id = (SELECT min(id) FROM batch) RETURNING length(spans)";
        let bytes: u64 = self.connection.prepare_cached(oldest)?.query_row([], |row| row.get(0))?;
        self.bytes = self.bytes.saturating_sub(bytes);
        Ok(())
    }
}

impl TraceSummary {
    /// Of a trace whose only span so far this is; not yet counted.
    fn begun_by(span: &Span) -> Self {
        let (trace_id, root) = (span.trace_id.clone(), span.name.clone());
        Self { trace_id, root, start_ns: span.start_ns, duration_ns: 0, spans: 0, errors: 0 }
    }

    fn add(&mut self, span: &Span) {
        let end = (self.start_ns + self.duration_ns).max(span.end_ns);
        if span.start_ns < self.start_ns {
            self.start_ns = span.start_ns;
            self.root.clone_from(&span.name);
        }
        self.duration_ns = end - self.start_ns;
        self.spans += 1;
        self.errors += i64::from(span.error);
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as Wire};

    use super::*;

    fn batch(trace: u8, spans: std::ops::Range<u8>) -> Vec<u8> {
        let span = |id: u8| Wire {
            trace_id: vec![trace; 16],
            span_id: vec![id; 8],
            name: format!("span {id}"),
            start_time_unix_nano: u64::from(trace) * 1_000 + u64::from(id),
            end_time_unix_nano: u64::from(trace) * 1_000 + 100,
            ..Wire::default()
        };
        let scope_spans = vec![ScopeSpans { spans: spans.map(span).collect(), ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        ExportTraceServiceRequest { resource_spans }.encode_to_vec()
    }

    #[test]
    fn a_batch_that_comes_twice_is_there_once() {
        let home = tempfile::tempdir().unwrap();
        let traces = Traces::create(&home.path().join("traces.db")).unwrap();
        for batch in [batch(7, 2..4), batch(7, 1..3), batch(7, 1..3), batch(8, 1..2)] {
            traces.insert(&batch).unwrap();
        }
        let names: Vec<String> =
            traces.spans(&"07".repeat(16)).unwrap().into_iter().map(|span| span.name).collect();
        assert_eq!(names, ["span 1", "span 2", "span 3"]);
        let latest = traces.latest(10, |_| true).unwrap();
        assert_eq!((latest[0].start_ns, latest[0].spans), (8_001, 1));
        assert_eq!((latest[1].root.as_str(), latest[1].duration_ns, latest[1].spans), ("span 1", 99, 3));
    }

    #[test]
    fn a_damaged_store_is_set_aside() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("traces.db");
        fs::write(&path, "garbage, and more of it than a header would take".repeat(100)).unwrap();
        Traces::create(&path).unwrap().insert(&batch(1, 0..1)).unwrap();
        assert!(fs::read_to_string(home.path().join("traces.db.damaged")).unwrap().starts_with("garbage"));
    }

    #[test]
    fn the_oldest_give_way() {
        let home = tempfile::tempdir().unwrap();
        let one = batch(1, 0..10).len() as u64;
        let path = home.path().join("traces.db");
        Traces::bounded(&path, 2 * one).unwrap().insert(&batch(1, 0..10)).unwrap();
        let traces = Traces::bounded(&path, 2 * one).unwrap();
        traces.insert(&batch(2, 0..10)).unwrap();
        traces.insert(&batch(3, 0..10)).unwrap();
        let kept: Vec<_> =
            traces.latest(10, |_| true).unwrap().into_iter().map(|trace| trace.trace_id).collect();
        assert_eq!(kept, ["03".repeat(16), "02".repeat(16)]);
    }
}
