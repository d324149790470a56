//! The logs of a mesh stay small for as long as it runs.

use std::time::Duration;

use super::DAEMONS;
use crate::home::Home;

/// How often their sizes are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Begins those anew that have grown large, over and over.
pub(super) async fn keep_small(home: &Home) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        for name in DAEMONS.into_iter().chain(["supervisor"]) {
            if let Err(error) = home.rotate(name) {
                tracing::error!(log = name, %error, "the log was not begun anew; it is tried again");
            }
        }
    }
}
