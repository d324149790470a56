//! What a daemon still waits for.

use std::collections::BTreeMap;
use std::sync::Arc;

use std::time::Duration;

use nova_storage::Kv;
use tokio::sync::watch;
use tokio::time::timeout;

/// How often a store that others keep is asked for, and how long it may take to answer.
const EVERY: Duration = Duration::from_secs(1);

/// Everything a daemon needs, and why it is not there yet.
#[derive(Clone, Debug)]
pub(crate) struct Needs(Arc<watch::Sender<BTreeMap<String, Option<String>>>>);

impl Needs {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(BTreeMap::new())))
    }

    /// Adds a need that is not met yet.
    pub(crate) fn add(&self, what: &str) -> Readiness {
        let readiness = Readiness { needs: self.clone(), what: what.to_owned() };
        readiness.not_ready("starting");
        readiness
    }

    /// What is missing: name and reason.
    pub(crate) fn missing(&self) -> BTreeMap<String, String> {
        let needs = self.0.borrow();
        needs.iter().filter_map(|(what, why)| Some((what.clone(), why.clone()?))).collect()
    }

    /// Waits for the next change.
    pub(crate) fn changes(&self) -> watch::Receiver<BTreeMap<String, Option<String>>> {
        self.0.subscribe()
    }
}

/// Asks for the store over and over, and tells whether it answers.
pub(crate) async fn follow(kv: Arc<dyn Kv>, store: Readiness) {
    loop {
        tokio::time::sleep(EVERY).await;
        match timeout(EVERY, kv.revision()).await {
            Ok(Ok(_)) => store.ready(),
            Ok(Err(error)) => store.not_ready(error.to_string()),
            Err(_) => store.not_ready(format!("redis has not answered within {EVERY:?}")),
        }
    }
}

/// One thing that a daemon needs to be ready. Dropped, it keeps its last word.
#[derive(Clone, Debug)]
pub struct Readiness {
    needs: Needs,
    what: String,
}

impl Readiness {
    /// It is there.
    pub fn ready(&self) {
        self.set(None);
    }

    /// It is not, and why.
    pub fn not_ready(&self, why: impl Into<String>) {
        self.set(Some(why.into()));
    }

    fn set(&self, why: Option<String>) {
        self.needs.0.send_if_modified(|needs| {
            let before = needs.insert(self.what.clone(), why.clone());
            before != Some(why)
        });
    }
}
