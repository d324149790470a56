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
    /// Nobody is known to lead, and why: such as what the store said when it was asked.
    Unknown(Error),
    /// This daemon owns the ledger, in this epoch.
    Leader(u64),
    /// The daemon at this URL does.
    Follower(Arc<str>),
}

impl Role {
    /// Whether somebody is known to lead.
    pub(crate) fn is_known(&self) -> bool {
        !matches!(self, Self::Unknown(_))
    }

    /// What a caller is told whom this daemon cannot answer any more.
    pub(crate) fn refusal(&self) -> Error {
        match self {
            Self::Unknown(why) => why.clone(),
            Self::Leader(_) | Self::Follower(_) => Error::Deposed,
        }
    }
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
        let Err(why) = ended else { break };
        let rest = match &why {
            Error::Owned { url, epoch, .. } if ledger.is_gone(url).await => {
                ledger.gone = *epoch;
                continue;
            }
            Error::Owned { url, left, .. } => {
                role.send_replace(Role::Follower(Arc::clone(url)));
                REST.min(*left)
            }
            error => {
                tracing::warn!(%error, "this daemon does not lead the queue");
                role.send_replace(Role::Unknown(error.clone()));
                REST
            }
        };
        parts.outlet.refuse_for(rest, &why).await;
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
