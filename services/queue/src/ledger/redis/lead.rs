//! Who leads: the daemon that owns the ledger runs the engine, the others wait for their turn.

use std::sync::Arc;

use tokio::sync::watch;

use super::{REST, RedisLedger};
use crate::{
    engine::{Engine, Parts},
    error::Error,
};

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
            Error::Owned { url, host, epoch, .. } if ledger.claimant.finds_gone(url, host).await => {
                ledger.gone = *epoch;
                continue;
            }
            Error::Owned { url, host, left, .. } => {
                let before = role.send_replace(Role::Follower(Arc::clone(url)));
                if before != *role.borrow() && ledger.claimant.cannot_reach(url, host) {
                    tracing::error!(
                        %url,
                        "a daemon of another host leads the queue, and says that it is at an address that is not its \
                         own alone: calls cannot be passed on to it, set runtime.advertise of each daemon"
                    );
                }
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
