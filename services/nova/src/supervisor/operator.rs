//! The certificate with which the commands of this home call the mesh.

use std::time::Duration;

use nova_identity::authority::{Authority, IssuedKeypair};
use nova_types::{Clock as _, SpiffeId, SystemClock};

use crate::home::Home;

/// Life of the certificate; it is renewed at half of it while the mesh runs.
const LIFE: Duration = Duration::from_secs(12 * 3_600);
/// How often its age is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Writes a new key, a certificate for it and the roots into the home: before the mesh is ready, so that nobody reads
/// a part of it.
pub(crate) fn issue(home: &Home, authority: &Authority) -> anyhow::Result<IssuedKeypair> {
    let id = SpiffeId::of(authority.trust_domain(), "operator", "user/operator")?;
    let pair = authority.issue_keypair(&id, &[], SystemClock.now(), LIFE)?;
    home.write_private(&home.operator("chain"), &pair.svid.chain_pem())?;
    home.write_private(&home.operator("key"), &pair.key_pem())?;
    home.write_private(&home.operator("bundle"), &authority.bundle_pem())?;
    Ok(pair)
}

/// Keeps it fresh, by the clock on the wall: a machine may have slept.
pub(crate) async fn keep_fresh(home: &Home, authority: &Authority, pair: &IssuedKeypair) {
    let mut issued = SystemClock.now();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if SystemClock.now().since(issued) < LIFE / 2 {
            continue;
        }
        match renew(home, authority, pair) {
            Ok(()) => issued = SystemClock.now(),
            Err(error) => {
                tracing::error!(%error, "the operator's certificate was not renewed; it is tried again")
            }
        }
    }
}

/// Replaces the certificate alone: it fits the key that a command may have read before, or reads after.
fn renew(home: &Home, authority: &Authority, pair: &IssuedKeypair) -> anyhow::Result<()> {
    let renewed = authority.renew_keypair(pair, SystemClock.now(), LIFE)?;
    home.write_private(&home.operator("chain"), &renewed.svid.chain_pem())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use nova_types::TrustDomain;

    use super::*;

    #[test]
    fn a_renewal_replaces_the_certificate_and_leaves_the_key() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(Some(folder.path().to_owned())).unwrap();
        let authority =
            Authority::open_or_create(&home.authority(), &TrustDomain::default(), SystemClock.now()).unwrap();
        let pair = issue(&home, &authority).unwrap();
        let read = || ["chain", "key"].map(|part| fs::read_to_string(home.operator(part)).unwrap());
        let [first_chain, first_key] = read();
        renew(&home, &authority, &pair).unwrap();
        let [chain, key] = read();
        assert!(chain != first_chain && key == first_key);
    }
}
