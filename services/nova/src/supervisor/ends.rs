//! Daemons that end by themselves: what they said last, and when a mesh that comes up stops trying.
//!
//! A mesh that runs tries for ever, since what it misses may come back. One that was never ready is something that
//! somebody waits for: settings that a daemon refuses stay wrong, and a daemon that ended a few times in a row has
//! named a cause that a person must see.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::process::ExitStatus;

use tokio::sync::watch;

use crate::home::Home;

/// Ends after which a daemon is given up; they come within about a second.
const TRIES: u32 = 5;

/// How a process ended.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) status: ExitStatus,
    /// The last line for people that it wrote.
    pub(super) said: String,
}

/// The ends of all daemons.
#[derive(Debug, Default)]
pub(super) struct Ends(watch::Sender<BTreeMap<&'static str, Record>>);

#[derive(Debug, Default)]
struct Record {
    times: u32,
    misconfigured: bool,
    said: String,
}

/// A daemon that is not tried any more.
#[derive(Debug)]
pub(super) struct GivenUp {
    daemon: &'static str,
    said: String,
    log: PathBuf,
    /// It refuses its settings.
    pub(super) misconfigured: bool,
}

impl Ends {
    /// Notes how a daemon ended. One that a signal ended has not given up itself.
    pub(super) fn note(&self, daemon: &'static str, end: &End) {
        let Some(code @ 1..) = end.status.code() else { return };
        let misconfigured = code == i32::from(nova_runtime::MISCONFIGURED);
        self.add(daemon, misconfigured, end.said.clone());
    }

    /// Notes why a daemon cannot be started at all.
    pub(super) fn note_unstartable(&self, daemon: &'static str, why: String) {
        self.add(daemon, false, why);
    }

    fn add(&self, daemon: &'static str, misconfigured: bool, said: String) {
        let said = said.strip_prefix(&format!("{daemon}: ")).unwrap_or(&said).to_owned();
        self.0.send_modify(|ends| {
            let times = ends.get(daemon).map_or(1, |before| before.times + 1);
            ends.insert(daemon, Record { times, misconfigured, said });
        });
    }

    /// Waits until one is to be given up.
    pub(super) async fn hopeless(&self, home: &Home) -> GivenUp {
        let mut changes = self.0.subscribe();
        loop {
            let hopeless = changes.borrow_and_update().iter().find(|(_, record)| record.is_hopeless()).map(
                |(daemon, Record { said, misconfigured, .. })| GivenUp {
                    daemon,
                    said: said.clone(),
                    log: home.log(daemon),
                    misconfigured: *misconfigured,
                },
            );
            if let Some(given_up) = hopeless {
                return given_up;
            }
            if changes.changed().await.is_err() {
                std::future::pending().await
            }
        }
    }

    /// What a daemon said when it ended last.
    pub(super) fn last_words(&self, daemon: &str) -> Option<String> {
        self.0.borrow().get(daemon).map(|record| record.said.clone())
    }
}

impl Record {
    fn is_hopeless(&self) -> bool {
        self.misconfigured || self.times >= TRIES
    }
}

impl fmt::Display for GivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { daemon, said, log, .. } = self;
        write!(f, "{daemon} does not start: {said}; its log is {}", log.display())
    }
}

impl std::error::Error for GivenUp {}
