//! The trace of a run: one root, which ends as soon as the run has begun, since a span that
//! stays open is lost with its process. What the command does later hangs below it.

use nova_rpc::trace::set_remote_parent;
use nova_runtime::config::TelemetryConfig;
use nova_runtime::telemetry::Telemetry;
use tracing::Span;

use crate::home::MeshFile;

/// Starts the telemetry of this command, which the mesh's own collector receives.
pub(crate) fn start(mesh: &MeshFile) -> anyhow::Result<Telemetry> {
    let mut config = TelemetryConfig { log_filter: "off".to_owned(), ..TelemetryConfig::default() };
    config.send_to(mesh.own_collector());
    Ok(Telemetry::start("nova", &std::process::id().to_string(), &config)?)
}

/// Sends the spans that are left; call it while the mesh is there.
pub(crate) async fn finish(telemetry: Telemetry) {
    if tokio::task::spawn_blocking(move || telemetry.shutdown()).await.is_err() {
        tracing::debug!("telemetry was not flushed");
    }
}

/// The root of a run's trace.
pub(crate) fn root() -> Span {
    tracing::info_span!("orchestrate", otel.name = "nova orchestrate", otel.kind = "internal")
}

/// A short span below the root; none without a trace.
pub(crate) fn below(traceparent: Option<&str>, name: &'static str) -> Span {
    let Some(traceparent) = traceparent else { return Span::none() };
    let span = tracing::info_span!("orchestrate", otel.name = name, otel.kind = "internal");
    set_remote_parent(&span, traceparent);
    span
}
