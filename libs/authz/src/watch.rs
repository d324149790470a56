//! Follows the policy daemon: each revision that it activates is put in force here.
//!
//! While the policy daemon is away the last revision goes on deciding.

use nova_client::{Backoff, Mesh};
use nova_proto::policy::v1::{self as pb, WatchSnapshotsRequest};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{PolicyPoint, Snapshot};

impl PolicyPoint {
    /// Watches until `shutdown`; a lost watch is opened again.
    pub async fn run_watch(self, mesh: Mesh, shutdown: CancellationToken) {
        tokio::select! {
            () = self.watch_on(mesh) => {}
            () = shutdown.cancelled() => {}
        }
    }

    async fn watch_on(&self, mesh: Mesh) {
        let mut backoff = Backoff::default();
        loop {
            let ended = self.watch_once(&mesh).await;
            if self.status().connected {
                backoff = Backoff::default();
            }
            self.set_connected(false);
            if let Err(status) = ended {
                tracing::debug!(code = ?status.code(), message = status.message(), "the watch for policies ended");
            }
            tokio::time::sleep(backoff.next_wait()).await;
        }
    }

    async fn watch_once(&self, mesh: &Mesh) -> Result<(), Status> {
        let revision = self.status().revision;
        let mut policy = mesh.policy();
        let watch =
            nova_rpc::trace::unrecorded(policy.watch_snapshots(WatchSnapshotsRequest { revision })).await?;
        let mut snapshots = watch.into_inner();
        while let Some(message) = snapshots.message().await? {
            if let Some(snapshot) = message.snapshot {
                self.take_in(snapshot).await;
            }
            self.set_connected(true);
        }
        Ok(())
    }

    /// Compiles off the async threads. A revision that does not hold keeps the old one in force.
    async fn take_in(&self, wire: pb::Snapshot) {
        let point = self.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || point.put_in_force(wire)).await {
            tracing::error!(%error, "a policy could not be loaded; the old one goes on");
        }
    }

    fn put_in_force(&self, wire: pb::Snapshot) {
        let snapshot = match Snapshot::try_from(wire) {
            Ok(snapshot) => snapshot,
            Err(error) => return tracing::error!(%error, "a policy is refused; the old one goes on"),
        };
        match self.publish(snapshot.clone()) {
            Ok(()) => self.save(&snapshot),
            Err(error) => tracing::error!(%error, "a policy is refused; the old one goes on"),
        }
    }
}
