//! The certificate with which the commands of this home call the mesh.

use std::time::Duration;

use nova_identity::authority::Authority;
use nova_types::{Clock as _, SpiffeId, SystemClock};

use crate::home::Home;

/// Life of the certificate; it is renewed at half of it while the mesh runs.
const LIFE: Duration = Duration::from_secs(12 * 3_600);
/// How often its age is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Writes a new certificate, its key and the roots into the home.
pub(crate) fn issue(home: &Home, authority: &Authority) -> anyhow::Result<()> {
    let id = SpiffeId::of(authority.trust_domain(), "operator", "user/operator")?;
    let pair = authority.issue_keypair(&id, &[], SystemClock.now(), LIFE)?;
    home.write_private(&home.operator("chain"), &pair.svid.chain_pem())?;
    home.write_private(&home.operator("key"), &pair.key_pem())?;
    home.write_private(&home.operator("bundle"), &authority.bundle_pem())
}

/// Keeps it fresh, by the clock on the wall: a machine may have slept.
pub(crate) async fn keep_fresh(home: &Home, authority: &Authority) {
    let mut issued = SystemClock.now();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if SystemClock.now().since(issued) < LIFE / 2 {
            continue;
        }
        match issue(home, authority) {
            Ok(()) => issued = SystemClock.now(),
            Err(error) => {
                tracing::error!(%error, "the operator's certificate was not renewed; it is tried again")
            }
        }
    }
}
