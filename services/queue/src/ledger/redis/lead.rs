//! Who leads: the daemon that owns the ledger runs the engine, the others wait for their turn.

use std::{sync::Arc, time::Duration};

use tokio::{net::TcpStream, sync::watch, time::timeout};

use super::{REST, RedisLedger};
use crate::{
    engine::{Engine, Parts},
    error::Error,
};

/// How long an owner has to accept a connection before it is given the benefit of the doubt.
const KNOCK: Duration = Duration::from_millis(500);

/// What this daemon is to the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Role {
    /// Nobody is known to lead.
    Unknown,
    /// This daemon owns the ledger, in this epoch.
    Leader(u64),
    /// The daemon at this URL does.
    Follower(Arc<str>),
}

/// Leads whenever it can, until every caller's end is dropped.
///
/// # Errors
/// The ledger is damaged.
pub(crate) async fn lead(
    mut ledger: RedisLedger,
    mut parts: Parts,
    role: watch::Sender<Role>,
) -> Result<(), Error> {
    while !parts.outlet.is_closed() {
        let ended = match Engine::over(&mut parts, &mut ledger).await {
            Ok(engine) => {
                tracing::info!("this daemon leads the queue");
                role.send_replace(Role::Leader(engine.epoch()));
                engine.run().await
            }
            Err(error) => Err(error),
        };
        let rest = match ended {
            Ok(()) => break,
            Err(Error::Owned { url, epoch, .. }) if ledger.is_gone(&url).await => {
                ledger.gone = epoch;
                continue;
            }
            Err(Error::Owned { url, left, .. }) => {
                role.send_replace(Role::Follower(url));
                left.min(REST)
            }
            Err(error) => {
                tracing::warn!(%error, "this daemon does not lead the queue any more");
                role.send_replace(Role::Unknown);
                REST
            }
        };
        parts.outlet.refuse_for(rest).await;
    }
    ledger.resign().await;
    Ok(())
}

impl RedisLedger {
    /// Whether the owner at an address is surely gone: it refuses connections, or the URL is our own.
    async fn is_gone(&self, url: &str) -> bool {
        url == &*self.claimant.url || refuses(url).await
    }
}

async fn refuses(url: &str) -> bool {
    let address = url.rsplit('/').next().unwrap_or_default();
    let knocked = timeout(KNOCK, TcpStream::connect(address)).await;
    matches!(knocked, Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused)
}
