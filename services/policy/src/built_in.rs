//! When the built-in revision is put in force: before any other, when a newer daemon brings a newer one, and as the way
//! back when nobody could change the stored one any more.

use std::fs;
use std::io;
use std::path::Path;

use nova_authz::{Refusal, Snapshot};
use nova_runtime::{Runtime, StartError};
use nova_types::TrustDomain;

use crate::Error;
use crate::default_policy::default_policy;
use crate::revision_store::{Read, RevisionStore, State};
use crate::revisions::fit_to_be_mended;

/// A file of this name in the daemon's data folder asks for the built-in revision; it is then removed.
const RESET: &str = "policy-reset";

/// Why the built-in revision takes the place of the stored one.
#[derive(Debug, thiserror::Error)]
enum Why {
    #[error("there is none, or an older built-in one")]
    Outdated,
    #[error("the file {RESET} asks for it")]
    Asked,
    #[error("{0}")]
    Unfit(Refusal),
}

/// Sees to it that the store names a revision with which the mesh can come up.
pub(crate) async fn install(store: &RevisionStore, runtime: &Runtime) -> Result<(), StartError> {
    let reset = runtime.data_dir().join(RESET);
    loop {
        let read = store.read().await?;
        let Some(why) = why(store, &read, reset.exists(), runtime.trust_domain()).await? else { break };
        tell(&why, &read);
        let built_in = default_policy();
        let state = State { built_in: true, ..read.activated(&built_in, runtime.clock().now()) };
        match store.activate(&read, state, &built_in).await {
            // Another instance was faster: what it has stored is looked at anew.
            Err(Error::Contended) => {}
            other => {
                other?;
                break;
            }
        }
    }
    // Only now: had the daemon died before, the next start must find the file.
    Ok(removed(&reset)?)
}

async fn why(
    store: &RevisionStore,
    read: &Read,
    asked: bool,
    domain: &TrustDomain,
) -> Result<Option<Why>, Error> {
    if asked {
        return Ok(Some(Why::Asked));
    }
    let active = &read.state.active;
    let outdated = read.state.built_in && active != default_policy().revision();
    if active.is_empty() || outdated {
        return Ok(Some(Why::Outdated));
    }
    let stored: Snapshot = store.snapshot(active).await?;
    Ok(fit_to_be_mended(stored, domain.clone()).await.err().map(Why::Unfit))
}

fn tell(why: &Why, read: &Read) {
    let replaced = &read.state.active;
    match why {
        Why::Outdated => tracing::info!(replaced, "the built-in policy is installed"),
        why => tracing::warn!(replaced, %why, "the built-in policy takes the place of the stored one"),
    }
}

fn removed(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
