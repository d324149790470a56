//! The writer thread: gathers jobs, commits them as a group, answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::mpsc;

use super::database::Counters;
use super::job::Job;
use crate::Error;

/// Starts the thread. It ends, and closes the connection, when the last sender is gone and every job
/// that was accepted is answered; then it drops `end`.
pub(super) fn spawn(
    name: String,
    connection: Connection,
    jobs: mpsc::Receiver<Box<dyn Job>>,
    group: usize,
    counters: Arc<Counters>,
    end: mpsc::Receiver<()>,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name).spawn(move || {
        run(&connection, jobs, group, &counters);
        drop(connection);
        drop(end);
    })
}

fn run(connection: &Connection, mut jobs: mpsc::Receiver<Box<dyn Job>>, group: usize, counters: &Counters) {
    let mut gathered = Vec::new();
    while let Some(first) = jobs.blocking_recv() {
        gathered.push(first);
        while gathered.len() < group
            && let Ok(job) = jobs.try_recv()
        {
            gathered.push(job);
        }
        counters.writes.fetch_add(gathered.len() as u64, Ordering::Relaxed);
        counters.commits.fetch_add(1, Ordering::Relaxed);
        let committed = commit(connection, &mut gathered);
        if let Err(error) = &committed {
            tracing::error!(%error, writes = gathered.len(), "a group of writes could not be committed");
        }
        gathered.drain(..).for_each(|job| job.reply(committed.clone()));
    }
}

/// All of the group or nothing, but for jobs that failed by themselves.
fn commit(connection: &Connection, jobs: &mut [Box<dyn Job>]) -> Result<(), Error> {
    execute(connection, "BEGIN IMMEDIATE")?;
    let committed = jobs
        .iter_mut()
        .try_for_each(|job| apply(connection, job.as_mut()))
        .and_then(|()| execute(connection, "COMMIT"));
    // A full disk rolls the transaction back by itself; then there is nothing left to roll back.
    if committed.is_err() && !connection.is_autocommit() {
        execute(connection, "ROLLBACK")?;
    }
    committed
}

/// Runs one job in its savepoint. An error here is the group's: the transaction itself is gone.
fn apply(connection: &Connection, job: &mut dyn Job) -> Result<(), Error> {
    execute(connection, "SAVEPOINT job")?;
    if !job.apply(connection) {
        execute(connection, "ROLLBACK TO job")?;
    }
    execute(connection, "RELEASE job")
}

fn execute(connection: &Connection, statement: &str) -> Result<(), Error> {
    connection.prepare_cached(statement)?.execute([])?;
    Ok(())
}
