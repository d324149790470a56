//! Which revision is in force, and how another comes to be.
//!
//! A change makes a whole new revision out of the active one. It must compile, answer, pass its own
//! tests and allow what it takes to replace it; then it is stored and made active in one commit, put in
//! force here, and pushed to every watcher. A refused one changes nothing but the status.
//!
//! The store is the truth. [`Revisions::follow`] puts in force whatever it says, so that a
//! call that was cut off between the commit and the push, or another instance on the same
//! store, leaves nobody behind.

use std::sync::Arc;
use std::time::Duration;

use nova_authz::{Module, PolicyPoint, Refusal, Snapshot, verify, verify_essentials};
use nova_runtime::Runtime;
use nova_storage::Kv;
use nova_types::{Clock, Timestamp, TrustDomain};
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::revision_store::{Read, RevisionStore, State};

const MOST_MODULES: usize = 64;
const MOST_BYTES: usize = 8 << 20;
/// Wait after the store failed.
const STORE_AWAY: Duration = Duration::from_secs(1);

/// The revision in force.
#[derive(Clone, Debug)]
pub(crate) struct Active {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) since: Timestamp,
}

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Revisions(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    kv: Arc<dyn Kv>,
    store: RevisionStore,
    clock: Arc<dyn Clock>,
    point: PolicyPoint,
    domain: TrustDomain,
    active: watch::Sender<Arc<Active>>,
    /// Changes are made one after the other.
    changing: Mutex<()>,
}

impl Revisions {
    /// Loads the active revision, of which there must be one, and puts it in force.
    pub(crate) async fn open(
        kv: Arc<dyn Kv>,
        store: RevisionStore,
        runtime: &Runtime,
    ) -> Result<Self, Error> {
        let active = load(&store).await?;
        let revisions = Self(Arc::new(Inner {
            active: watch::Sender::new(Arc::new(active.clone())),
            changing: Mutex::default(),
            kv,
            store,
            clock: runtime.clock(),
            point: runtime.policy().clone(),
            domain: runtime.trust_domain().clone(),
        }));
        revisions.put_in_force(active)?;
        Ok(revisions)
    }

    /// The revision in force.
    pub(crate) fn active(&self) -> Arc<Active> {
        self.0.active.borrow().clone()
    }

    /// The revision in force and every later one.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Active>> {
        self.0.active.subscribe()
    }

    /// A revision that is kept, or the one that daemons start with.
    pub(crate) async fn find(&self, revision: &str) -> Result<Snapshot, Error> {
        let bootstrap = Snapshot::bootstrap();
        if bootstrap.revision() == revision { Ok(bootstrap) } else { self.0.store.snapshot(revision).await }
    }

    /// Why the last change was refused; empty when it was not.
    pub(crate) async fn last_error(&self) -> Result<String, Error> {
        Ok(self.0.store.read().await?.state.last_error)
    }

    /// Adds or replaces a module. Answers the revision that is active then.
    pub(crate) async fn put(&self, module: Module) -> Result<String, Error> {
        let id = module.id.clone();
        let changed = self.change(move |modules| {
            modules.retain(|other| other.id != module.id);
            modules.push(module);
            Ok(())
        });
        changed.await.map_err(|error| match error {
            Error::BadRevision(Refusal::Compile(place)) if place.module == id => Error::BadModule(place),
            other => other,
        })
    }

    /// Removes a module. Answers the revision that is active then.
    pub(crate) async fn delete(&self, id: &str) -> Result<String, Error> {
        let id = id.to_owned();
        let changed = self.change(move |modules| {
            let before = modules.len();
            modules.retain(|module| module.id != id);
            if modules.len() < before { Ok(()) } else { Err(Error::NoModule(id)) }
        });
        changed.await
    }

    async fn change(
        &self,
        edit: impl FnOnce(&mut Vec<Module>) -> Result<(), Error> + Send,
    ) -> Result<String, Error> {
        let _one_at_a_time = self.0.changing.lock().await;
        let read = self.0.store.read().await?;
        let present = self.0.store.snapshot(&read.state.active).await?;
        let mut modules = present.modules().to_vec();
        edit(&mut modules)?;
        check_size(&modules)?;
        let next = Snapshot::new(modules, present.data_json())
            .map_err(|error| Error::damaged("policy data", error))?;
        self.verify_and_activate(&read, next).await?;
        self.refresh().await?;
        Ok(self.active().snapshot.revision().to_owned())
    }

    async fn verify_and_activate(&self, read: &Read, next: Snapshot) -> Result<(), Error> {
        let (next, verified) = verified(next, self.0.domain.clone()).await;
        if let Err(refusal) = verified {
            let state = State { last_error: refusal.to_string(), ..read.state.clone() };
            self.0.store.write(read, &state).await?;
            return Err(Error::BadRevision(refusal));
        }
        if next.revision() == read.state.active {
            let state = State { last_error: String::new(), ..read.state.clone() };
            return self.0.store.write(read, &state).await;
        }
        self.0.store.activate(read, read.activated(&next, self.0.clock.now()), &next).await
    }

    /// Puts in force what the store says is active.
    async fn refresh(&self) -> Result<(), Error> {
        let read = self.0.store.read().await?;
        if read.state.active != self.active().snapshot.revision() {
            self.put_in_force(load(&self.0.store).await?)?;
        }
        Ok(())
    }

    fn put_in_force(&self, active: Active) -> Result<(), Error> {
        let published = self.0.point.publish(active.snapshot.as_ref().clone());
        published.map_err(|error| Error::damaged("active revision", error))?;
        self.0.active.send_replace(Arc::new(active));
        Ok(())
    }

    /// Follows the store until `shutdown`.
    pub(crate) async fn follow(self, shutdown: CancellationToken) {
        tokio::select! {
            () = self.follow_on() => {}
            () = shutdown.cancelled() => {}
        }
    }

    async fn follow_on(&self) {
        let mut seen = 0;
        loop {
            let followed = match self.0.kv.wait_past(seen).await {
                Ok(revision) => {
                    seen = revision;
                    self.refresh().await
                }
                Err(error) => Err(error.into()),
            };
            if let Err(error) = followed {
                tracing::warn!(%error, "the store cannot be followed; the policy in force goes on");
                tokio::time::sleep(STORE_AWAY).await;
            }
        }
    }
}

/// Compiling and testing take a while: they run off the async threads.
async fn verified(next: Snapshot, domain: TrustDomain) -> (Snapshot, Result<(), Refusal>) {
    let verifying = tokio::task::spawn_blocking(move || {
        let verified = verify(&next).and_then(|_passed| verify_essentials(&next, &domain));
        (next, verified)
    });
    verifying.await.expect("regorus reports errors and does not panic")
}

/// Whether a stored revision can decide, and still be replaced.
pub(crate) async fn fit_to_be_mended(stored: Snapshot, domain: TrustDomain) -> Result<(), Refusal> {
    let verifying = tokio::task::spawn_blocking(move || verify_essentials(&stored, &domain));
    verifying.await.expect("regorus reports errors and does not panic")
}

async fn load(store: &RevisionStore) -> Result<Active, Error> {
    let state = store.read().await?.state;
    let snapshot = Arc::new(store.snapshot(&state.active).await?);
    Ok(Active { snapshot, since: state.since })
}

fn check_size(modules: &[Module]) -> Result<(), Error> {
    let bytes: usize = modules.iter().map(|module| module.rego.len()).sum();
    let fits = modules.len() <= MOST_MODULES && bytes <= MOST_BYTES;
    if fits { Ok(()) } else { Err(Error::TooLarge { modules: MOST_MODULES, bytes: MOST_BYTES }) }
}
