//! Whose store it is. Two meshes over one store would run each other's work with identities that they do not trust:
//! the first authority that comes to a store owns it, and another is refused before it serves anything.

use std::sync::Arc;

use nova_storage::{Commit, CommitError, Kv};
use serde::{Deserialize, Serialize};

use crate::authority::Authority;
use crate::error::Error;
use crate::records;

const KEY: &str = "identity/owner";

#[derive(Debug, Serialize, Deserialize)]
struct Owner {
    /// SHA-256 of the root certificate, hex.
    root: String,
}

/// Claims the store for an authority; fails when it belongs to another one.
pub(crate) async fn claim(kv: &Arc<dyn Kv>, authority: &Authority) -> Result<(), Error> {
    let ours = Owner { root: records::fingerprint(authority.root_der()) };
    match kv.commit(Commit::new().absent(KEY).put(KEY, records::encode(&ours))).await {
        Ok(_) => Ok(()),
        Err(CommitError::Conflict { .. }) => check(kv, ours.root).await,
        Err(CommitError::Store(error)) => Err(error.into()),
    }
}

async fn check(kv: &Arc<dyn Kv>, ours: String) -> Result<(), Error> {
    let entry = kv.get(KEY).await?.ok_or_else(|| Error::Contended(KEY.to_owned()))?;
    let owner: Owner = records::decode(&entry)?;
    if owner.root == ours { Ok(()) } else { Err(Error::ForeignStore { owner: owner.root, ours }) }
}
