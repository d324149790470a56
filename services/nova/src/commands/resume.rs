//! How a stream is kept up while daemons come and go: opened again from where it was, with
//! waits that grow, until the mesh has been away for too long.

use std::time::Duration;

use tokio::time::Instant;
use tonic::{Code, Status};

const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// How long a mesh may be away: a daemon is started again within seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// The patience with one stream.
#[derive(Debug)]
pub(crate) struct Patience {
    wait: Duration,
    away_since: Option<Instant>,
}

impl Patience {
    pub(crate) fn new() -> Self {
        Self { wait: FIRST_WAIT, away_since: None }
    }

    /// Something arrived: the stream stands.
    pub(crate) fn restore(&mut self) {
        *self = Self::new();
    }

    /// Waits before the stream is opened again; gives the error back when that is of no use.
    pub(crate) async fn endure(&mut self, error: Status) -> Result<(), Status> {
        let since = *self.away_since.get_or_insert_with(Instant::now);
        if !may_pass(&error) || since.elapsed() > PATIENCE {
            return Err(error);
        }
        tokio::time::sleep(self.wait).await;
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
        Ok(())
    }
}

/// Whether an error is one of the way, not an answer: a broken connection has many codes.
fn may_pass(error: &Status) -> bool {
    matches!(
        error.code(),
        Code::Unavailable
            | Code::Unknown
            | Code::Internal
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_is_given_back_at_once() {
        let error = Patience::new().endure(Status::not_found("no such run")).await.unwrap_err();
        assert_eq!(error.code(), Code::NotFound);
    }

    #[tokio::test]
    async fn a_mesh_that_stays_away_is_given_up() {
        let long_ago = Instant::now().checked_sub(PATIENCE + FIRST_WAIT).unwrap();
        let mut patience = Patience { wait: FIRST_WAIT, away_since: Some(long_ago) };
        assert!(patience.endure(Status::unavailable("gone")).await.is_err());
    }

    #[tokio::test]
    async fn what_arrives_restores_patience() {
        let mut patience = Patience { wait: LONGEST_WAIT, away_since: Some(Instant::now()) };
        patience.restore();
        assert!(patience.endure(Status::unavailable("gone")).await.is_ok());
    }
}
