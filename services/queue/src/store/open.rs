//! Opening a store: its ledger, and the task that its engine runs as.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use nova_storage::redis::RedisUrl;
use nova_types::Clock;
use tokio::sync::{oneshot, watch};

use super::{Stopped, Store};
use crate::{
    core::{Limits, proven::Proven},
    engine::{Engine, Parts, awaited::Awaited, inbox::inbox, ring::Ring},
    error::Error,
    ledger::{
        Reader, Standing,
        redis::{Claimant, RedisLedger, RedisReader, Role, lead},
        sqlite::{Readers, SqliteLedger},
    },
    record::Durability,
};

/// Bounds of what a store holds.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Of tasks, queues, events and what is kept of ended tasks.
    pub(crate) limits: Limits,
    /// Most calls that wait for the engine, for each of the two ways in.
    pub(crate) calls: usize,
    /// Most bytes that those calls hold.
    pub(crate) bytes: usize,
    /// Most lease calls, those of streams aside, that may wait for work.
    pub(crate) waiting_leases: usize,
}

/// Opens a store over a file that this daemon has for itself.
///
/// # Errors
/// The file cannot be used, or another daemon uses it.
pub(crate) async fn open_sqlite(
    path: PathBuf,
    settings: Settings,
    clock: Arc<dyn Clock>,
) -> Result<Store, Error> {
    let reader = Arc::new(Readers::new(&path));
    let standing = watch::Sender::new(Standing::at(Durability::Synced)).subscribe();
    let (store, parts, role) = assemble(settings, clock, reader, standing, Role::Leader(0));
    let (ready, opened) = oneshot::channel();
    let stopped = run(async move {
        let (mut parts, mut ledger) = (parts, SqliteLedger::open(path).await?);
        let engine = Engine::over(&mut parts, &mut ledger).await?;
        ready.send(()).map_err(|()| Error::Closed)?;
        let ran = engine.run().await;
        // Whoever watches it sees that the engine is gone.
        drop(role);
        ran
    });
    started(store, opened, stopped).await
}

/// Opens a store over a Redis that several daemons may share; it leads when it can.
///
/// # Errors
/// The server cannot be reached, is too old, or may lose what it holds.
pub(crate) async fn open_redis(
    url: &RedisUrl,
    claimant: Claimant,
    settings: Settings,
    clock: Arc<dyn Clock>,
) -> Result<Store, Error> {
    let reader = Arc::new(RedisReader::open(url).await?);
    // The ledger says what it is before anything is answered.
    let (stands, standing) = watch::channel(Standing::at(Durability::Memory));
    let (store, parts, role) = assemble(settings, clock, reader, standing, Role::Unknown(Error::Leaderless));
    let (ready, opened) = oneshot::channel();
    let (url, mut decided) = (url.to_owned(), role.subscribe());
    let stopped = run(async move {
        let ledger = RedisLedger::open(&url, claimant, stands).await?;
        ready.send(()).map_err(|()| Error::Closed)?;
        lead(ledger, parts, role).await
    });
    let store = started(store, opened, stopped).await?;
    // An engine that ended says why through `stopped`.
    drop(decided.wait_for(Role::is_known).await);
    Ok(store)
}

/// A store, and what its engine runs with.
pub(crate) fn assemble(
    settings: Settings,
    clock: Arc<dyn Clock>,
    reader: Arc<dyn Reader>,
    standing: watch::Receiver<Standing>,
    role: Role,
) -> (Store, Parts, watch::Sender<Role>) {
    let (inbox, outlet) = inbox(settings.calls, settings.bytes);
    let (ring, awaited) = (Arc::new(Ring::new(0, 0)), Arc::<Awaited>::default());
    let Settings { limits, waiting_leases, .. } = settings;
    let parts = Parts {
        limits,
        waiting_leases,
        noise: rand::random(),
        clock,
        outlet,
        ring: Arc::clone(&ring),
        awaited: Arc::clone(&awaited),
        proven: Proven::default(),
    };
    let role = watch::Sender::new(role);
    let store = Store {
        inbox,
        ring,
        awaited,
        reader,
        standing,
        role: role.subscribe(),
        streams: Arc::default(),
        stopped: Arc::new(Mutex::new(None)),
    };
    (store, parts, role)
}

/// Runs an engine among the calls: what one asks is decided on the thread that has read it, and wakes no other.
#[expect(
    clippy::disallowed_methods,
    reason = "whoever opens a store learns by `Stopped` how this task ended"
)]
fn run(engine: impl Future<Output = Result<(), Error>> + Send + 'static) -> Stopped {
    let (stop, stopped) = oneshot::channel();
    // Nobody listens any more when the store was dropped first.
    tokio::spawn(async move { drop(stop.send(engine.await)) });
    stopped
}

/// The store, once its engine runs.
async fn started(store: Store, opened: oneshot::Receiver<()>, stopped: Stopped) -> Result<Store, Error> {
    if opened.await.is_err() {
        return Err(stopped.await.map_err(|_| Error::Closed)?.err().unwrap_or(Error::Closed));
    }
    *store.stopped.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(stopped);
    Ok(store)
}
