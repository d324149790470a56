//! How a process that a node agent started joins the mesh.

use std::sync::Arc;

use nova_client::{Credentials, Mesh};
use nova_types::{AgentId, SpiffeId, SystemClock};
use tokio_util::sync::CancellationToken;

use crate::config::{LogFormat, TelemetryConfig};
use crate::credentials::{self, CredentialSource as _, IdentityDaemon};
use crate::readiness::Needs;
use crate::telemetry::Telemetry;
use crate::{Handoff, StartError, signals};

/// A process that acts as an agent.
#[derive(Debug)]
pub struct AgentProcess {
    /// The agent.
    pub agent_id: AgentId,
    /// Clients that show the agent's certificate, which is kept fresh.
    pub mesh: Mesh,
    /// Fires at SIGTERM or SIGINT: finish, then end.
    pub drain: CancellationToken,
    /// Fires when the parent is gone: end at once.
    pub gone: CancellationToken,
    telemetry: Telemetry,
}

impl AgentProcess {
    /// Reads the handoff from standard input, and gets a certificate.
    #[expect(clippy::disallowed_methods, reason = "an agent's process has no daemon runtime to spawn on")]
    pub async fn join(service: &'static str) -> Result<Self, StartError> {
        nova_client::install_crypto_provider();
        let (handoff, lifeline) = Handoff::from_stdin().await?;
        let telemetry = Telemetry::start(service, &handoff.subject, &telemetry_config(&handoff))?;
        let (drain, gone) = (CancellationToken::new(), CancellationToken::new());
        tokio::spawn(lifeline.watch(gone.clone()));
        tokio::spawn(drain_at_signal(drain.clone()));
        let agent_id = agent_of(&handoff)?;
        let credentials = Credentials::joining(&handoff.bundle_pem, handoff.join_token)?;
        let mesh = Mesh::new(handoff.endpoints, credentials.clone())?;
        let source = Arc::new(IdentityDaemon::new(mesh.clone())?);
        credentials.replace(source.issue().await?)?;
        let readiness = Needs::new().add("certificate");
        let clock = Arc::new(SystemClock);
        tokio::spawn(credentials::keep_fresh_from_half_life(source, credentials, readiness, clock));
        Ok(Self { agent_id, mesh, drain, gone, telemetry })
    }

    /// Sends the telemetry that is left.
    pub async fn finish(self) {
        let telemetry = self.telemetry;
        if tokio::task::spawn_blocking(move || telemetry.shutdown()).await.is_err() {
            tracing::debug!("telemetry was not flushed");
        }
    }
}

fn telemetry_config(handoff: &Handoff) -> TelemetryConfig {
    let mut config = TelemetryConfig { log_format: LogFormat::Json, ..TelemetryConfig::default() };
    if let Some(otlp) = &handoff.otlp {
        config.send_to(otlp.clone());
    }
    config
}

fn agent_of(handoff: &Handoff) -> Result<AgentId, StartError> {
    let id = SpiffeId::of(&handoff.trust_domain, "subject", &handoff.subject)?;
    id.agent_id().ok_or_else(|| StartError::new(format!("{id} is no agent")))
}

async fn drain_at_signal(drain: CancellationToken) {
    if let Ok(signal) = signals::termination().await {
        tracing::info!(signal, "draining");
        drain.cancel();
    }
}
