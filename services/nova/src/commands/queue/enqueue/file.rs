//! A file of tasks, stored in order, a batch at a time.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};

use nova_client::Mesh;
use nova_proto::queue::v1::{Durability, EnqueueRequest, EnqueueResponse, NewTask};
use serde_json::json;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::IN_MEMORY;
use super::line::Line;
use crate::cli::Context;
use crate::commands::{cells, output};
use crate::connection;
use crate::failure::Misuse;

/// Most tasks of one call.
const TASKS: usize = 1_000;
/// Most bytes of their lines: payloads of one call may have 4 MiB.
const BYTES: usize = 3 << 20;
/// Longest line, bytes: a payload of 1 MiB, however it is written, and what else a task has.
const LONGEST: u64 = 8 << 20;

/// Stores every task of a file, and prints its id. What comes before a line that is refused is stored, but for the
/// tasks of the same batch.
pub(super) async fn store(context: &Context, namespace: &str, path: &str) -> anyhow::Result<()> {
    let mut source = Source::open(path)?;
    let mut stored = Stored::default();
    let mut batch = source.batch(&stored.ids)?;
    let mesh = connection::connect(&context.home).await?;
    while !batch.tasks.is_empty() {
        let sent = stored.send(context, &mesh, namespace, batch).await;
        batch = sent.and_then(|()| source.batch(&stored.ids)).inspect_err(|_| stored.tell(context))?;
    }
    stored.tell(context);
    Ok(())
}

/// What of a file is stored.
#[derive(Default)]
struct Stored {
    /// Of each task, in the order of the file.
    ids: Vec<String>,
    /// How many of them had been stored before.
    known: usize,
    /// Whether a restart of Redis loses them.
    in_memory: bool,
}

impl Stored {
    async fn send(
        &mut self,
        context: &Context,
        mesh: &Mesh,
        namespace: &str,
        batch: Batch,
    ) -> anyhow::Result<()> {
        let Batch { lines, tasks, .. } = batch;
        let request = EnqueueRequest { namespace: namespace.to_owned(), tasks };
        let answer = mesh.queue().enqueue(request).await.map_err(|status| by_line(status, &lines))?;
        self.take(context, &lines, answer.into_inner())
    }

    fn take(&mut self, context: &Context, lines: &[usize], answer: EnqueueResponse) -> anyhow::Result<()> {
        let durability = cells::name(answer.durability().as_str_name(), "DURABILITY_");
        self.in_memory |= answer.durability() == Durability::Memory;
        for (line, task) in lines.iter().zip(answer.tasks) {
            self.known += usize::from(task.duplicate);
            let (id, duplicate) = (&task.id, task.duplicate);
            let record = json!({"line": line, "id": id, "duplicate": duplicate, "durability": durability});
            let printed = if context.json { output::json_line(&record) } else { output::line(id) };
            output::regardless_of_readers(printed)?;
            self.ids.push(task.id);
        }
        Ok(())
    }

    fn tell(&self, context: &Context) {
        if context.json {
            return;
        }
        match (self.ids.len(), self.known) {
            (all, 0) => tell!("nova: {all} tasks are stored"),
            (all, known) => tell!("nova: {all} tasks are stored, {known} of which were before"),
        }
        if self.in_memory {
            tell!("{IN_MEMORY}");
        }
    }
}

/// The same with the lines named, where it is tasks that are wrong.
fn by_line(status: Status, lines: &[usize]) -> anyhow::Error {
    let details = status.get_error_details();
    let violations = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
    let told: Option<Vec<String>> = violations
        .iter()
        .map(|one| Some(format!("{}: {}", of_line(&one.field, lines)?, one.description)))
        .collect();
    match told {
        Some(told) if status.code() == Code::InvalidArgument && !told.is_empty() => Misuse::new(told).into(),
        _ => status.into(),
    }
}

/// `line 7: delay` for `tasks[2].delay`.
fn of_line(field: &str, lines: &[usize]) -> Option<String> {
    let (index, rest) = field.strip_prefix("tasks[")?.split_once(']')?;
    let line = lines.get(index.parse::<usize>().ok()?)?;
    Some(format!("line {line}: {}", rest.trim_start_matches('.')))
}

/// Tasks that are stored together, each with the number of its line.
#[derive(Debug, Default)]
struct Batch {
    lines: Vec<usize>,
    tasks: Vec<NewTask>,
    bytes: usize,
}

impl Batch {
    fn has_room_for(&self, bytes: usize) -> bool {
        self.tasks.is_empty() || (self.tasks.len() < TASKS && self.bytes + bytes <= BYTES)
    }
}

/// Lines that are still to be read.
struct Source<'a> {
    path: &'a str,
    reader: Box<dyn BufRead>,
    /// Of the line that was read last.
    number: usize,
    /// That line, where it found no room in the batch before.
    ahead: Option<Vec<u8>>,
}

impl<'a> Source<'a> {
    fn open(path: &'a str) -> anyhow::Result<Self> {
        let reader: Box<dyn BufRead> = match path {
            "-" => Box::new(io::stdin().lock()),
            path => Box::new(BufReader::new(File::open(path).map_err(|error| unreadable(path, &error))?)),
        };
        Ok(Self { path, reader, number: 0, ahead: None })
    }

    /// The next tasks, after those with these ids; none at the end.
    fn batch(&mut self, ids: &[String]) -> anyhow::Result<Batch> {
        let mut batch = Batch::default();
        while let Some(text) = self.next_line()? {
            if !batch.has_room_for(text.len()) {
                self.ahead = Some(text);
                break;
            }
            let task = Line::read(&text).and_then(|line| line.task(ids.len() + batch.tasks.len(), ids));
            batch.tasks.push(task.map_err(|error| Misuse::of(format!("line {}: {error}", self.number)))?);
            batch.lines.push(self.number);
            batch.bytes += text.len();
        }
        Ok(batch)
    }

    /// The next line that says something.
    fn next_line(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        if let Some(text) = self.ahead.take() {
            return Ok(Some(text));
        }
        loop {
            let mut text = Vec::new();
            let read = (&mut self.reader).take(LONGEST).read_until(b'\n', &mut text);
            self.number += 1;
            match read.map_err(|error| unreadable(self.path, &error))? {
                0 => return Ok(None),
                read if read as u64 == LONGEST => {
                    let most = LONGEST >> 20;
                    return Err(Misuse::of(format!("line {}: must be shorter than {most} MiB", self.number)));
                }
                _ if text.trim_ascii().is_empty() => {}
                _ => return Ok(Some(text)),
            }
        }
    }
}

fn unreadable(path: &str, error: &io::Error) -> anyhow::Error {
    Misuse::of(format!("cannot read {path}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &'static str) -> Source<'static> {
        Source { path: "-", reader: Box::new(text.as_bytes()), number: 0, ahead: None }
    }

    #[test]
    fn blank_lines_are_counted_and_passed_over() {
        let mut source = source("{\"queue\":\"q\",\"kind\":\"a\"}\n\n  \n{\"queue\":\"q\",\"kind\":\"b\"}");
        let batch = source.batch(&[]).unwrap();
        assert_eq!(batch.lines, [1, 4]);
        assert!(source.batch(&[]).unwrap().tasks.is_empty());
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named() {
        let refused = source("{\"queue\":\"q\",\"kind\":\"a\"}\n{\"queue\":5}").batch(&[]).unwrap_err();
        assert_eq!(refused.to_string(), "line 2: invalid type: integer `5`, expected a string (column 10)");
    }

    #[test]
    fn a_batch_is_bounded_and_the_next_one_goes_on() {
        let text = "{\"queue\":\"q\",\"kind\":\"a\",\"after_index\":[0]}\n".repeat(TASKS);
        let all = format!("{{\"queue\":\"q\",\"kind\":\"a\"}}\n{text}");
        let mut source = source(all.leak());
        assert_eq!(source.batch(&[]).unwrap().tasks.len(), TASKS);
        let ids: Vec<String> = (0..TASKS).map(|id| id.to_string()).collect();
        let last = source.batch(&ids).unwrap();
        assert_eq!((last.lines, &last.tasks[0].after), (vec![TASKS + 1], &vec!["0".to_owned()]));
    }

    #[test]
    fn a_task_that_the_queue_refuses_is_named_by_its_line() {
        assert_eq!(of_line("tasks[1].delay", &[3, 7]).as_deref(), Some("line 7: delay"));
        assert_eq!(of_line("tasks[1]", &[3]), None);
        assert_eq!(of_line("namespace", &[3]), None);
    }
}
