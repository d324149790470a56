//! A command that waits says for what: its calls are repeated while a daemon, or the store of one, is away.

use std::time::Duration;

use tokio::time::sleep;

use crate::home::Home;
use crate::supervisor::missing_anywhere;

/// Silence after which to look whether the mesh misses something.
const SILENCE: Duration = Duration::from_secs(2);

/// Runs a command; when it takes long, says once what the mesh misses.
pub(crate) async fn told<T>(home: &Home, command: impl Future<Output = T>) -> T {
    let mut command = Box::pin(command);
    tokio::select! {
        done = &mut command => return done,
        () = tell_missing(home) => {}
    }
    command.await
}

async fn tell_missing(home: &Home) {
    sleep(SILENCE).await;
    let Ok(Some(mesh)) = home.running() else { return };
    let missing = missing_anywhere(&mesh).await;
    if mesh.is_ready() && !missing.is_empty() {
        tell!("nova: this waits: {missing}");
    }
}
