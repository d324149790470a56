//! Logs, traces and metrics of a process.
//!
//! Spans go to an OTLP collector in batches; the spans of the exporter itself, and of the
//! libraries below it, are kept out. Metrics are read at `/metrics`, and pushed on request.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tonic::metadata::MetadataMap;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, dynamic_filter_fn, filter_fn};
use tracing_subscriber::layer::{Filter, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry, fmt};

use crate::config::{LogFormat, TelemetryConfig};
use crate::log_format::{HumanLines, JsonLines};
use crate::spans::Spans;

/// Telemetry that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter of the log.
    #[error("the log filter is wrong")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Where spans go.
    #[error("the OTLP endpoint must be a URL, such as http://127.0.0.1:4317")]
    Endpoint(#[from] tonic::transport::Error),
    /// What the collector is shown.
    #[error("the token for the OTLP collector must be visible ASCII")]
    Token(#[from] tonic::metadata::errors::InvalidMetadataValue),
    /// The exporter of metrics.
    #[error("the OTLP exporter cannot be built")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// The metrics.
    #[error("the metrics cannot be set up")]
    Metrics(#[from] opentelemetry_sdk::error::OTelSdkError),
}

/// The telemetry of this process, until it is shut down.
#[derive(Debug)]
pub struct Telemetry {
    tracer: SdkTracerProvider,
    meter: SdkMeterProvider,
    pub(crate) registry: prometheus::Registry,
}

impl Telemetry {
    /// Starts telemetry for the process `service`. Call it inside the Tokio runtime, once.
    pub fn start(
        service: &'static str,
        instance: &str,
        config: &TelemetryConfig,
    ) -> Result<Self, TelemetryError> {
        let resource = Resource::builder_empty()
            .with_attribute(KeyValue::new("service.namespace", "nova"))
            .with_attribute(KeyValue::new("service.name", service))
            .with_attribute(KeyValue::new("service.instance.id", instance.to_owned()))
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
        nova_rpc::trace::begin_traces(config.trace_ratio > 0.0);
        let registry = prometheus::Registry::new();
        let spans = spans_to(config, &resource)?;
        let meter = meter_provider(resource.clone(), config, &registry)?;
        opentelemetry::global::set_meter_provider(meter.clone());
        if let Some(spans) = &spans {
            spans.count_in(&opentelemetry::global::meter("nova.telemetry"));
        }
        let tracer = tracer_provider(resource, config, spans);
        subscribe(service, config, &tracer)?;
        Ok(Self { tracer, meter, registry })
    }

    /// Sends what is left. Blocks for at most two seconds: call it off the runtime's threads.
    pub fn shutdown(&self) {
        let patience = Duration::from_secs(2);
        if let Err(error) = self.tracer.shutdown_with_timeout(patience) {
            tracing::debug!(%error, "spans were not flushed");
        }
        if let Err(error) = self.meter.shutdown() {
            tracing::debug!(%error, "metrics were not flushed");
        }
    }
}

fn tracer_provider(resource: Resource, config: &TelemetryConfig, spans: Option<Spans>) -> SdkTracerProvider {
    let ratio = Sampler::TraceIdRatioBased(config.trace_ratio);
    let builder = SdkTracerProvider::builder()
        .with_resource(resource)
        .with_sampler(Sampler::ParentBased(Box::new(ratio)));
    match spans {
        Some(spans) => builder.with_span_processor(spans).build(),
        None => builder.build(),
    }
}

/// The way to the collector, if there is one.
fn spans_to(config: &TelemetryConfig, resource: &Resource) -> Result<Option<Spans>, TelemetryError> {
    if config.otlp_endpoint.is_empty() {
        return Ok(None);
    }
    Ok(Some(Spans::to(&config.otlp_endpoint, shown(config)?, config.span_buffer, resource)?))
}

/// What the collector is shown with each batch.
fn shown(config: &TelemetryConfig) -> Result<MetadataMap, TelemetryError> {
    let mut shown = MetadataMap::new();
    if let Some(token) = &config.otlp_token {
        shown.insert("authorization", format!("Bearer {token}").parse()?);
    }
    Ok(shown)
}

fn meter_provider(
    resource: Resource,
    config: &TelemetryConfig,
    registry: &prometheus::Registry,
) -> Result<SdkMeterProvider, TelemetryError> {
    let page = opentelemetry_prometheus::exporter().with_registry(registry.clone()).build()?;
    let mut builder = SdkMeterProvider::builder().with_resource(resource).with_reader(page);
    if config.otlp_metrics && !config.otlp_endpoint.is_empty() {
        let exporter = opentelemetry_otlp::MetricExporter::builder()
            .with_tonic()
            .with_endpoint(&config.otlp_endpoint)
            .with_metadata(shown(config)?)
            .build()?;
        builder = builder.with_reader(PeriodicReader::builder(exporter).build());
    }
    Ok(builder.build())
}

fn subscribe(
    service: &'static str,
    config: &TelemetryConfig,
    tracer: &SdkTracerProvider,
) -> Result<(), TelemetryError> {
    let filter =
        EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).parse(&config.log_filter)?;
    // Asked first: it is asked of every span, and the other one is dearer.
    let filter = filter_fn(|metadata| metadata.is_event()).and(filter);
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let log: Box<dyn Layer<Registry> + Send + Sync> = match config.log_format {
        LogFormat::Json => Box::new(lines.event_format(JsonLines { service }).with_filter(filter)),
        LogFormat::Human => Box::new(lines.event_format(HumanLines).with_filter(filter)),
    };
    let spans = tracing_opentelemetry::layer()
        .with_tracer(tracer.tracer("nova"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(own_spans());
    if tracing_subscriber::registry().with(log).with(spans).try_init().is_err() {
        tracing::debug!("another subscriber is installed already");
    }
    Ok(())
}

/// Spans of Nova itself: those of the exporter and of the libraries below it would trace the tracing. None are made
/// below a call that is not recorded.
fn own_spans<S: Subscriber>() -> impl Filter<S> {
    let own = |metadata: &Metadata<'_>| metadata.is_span() && metadata.target().starts_with("nova");
    dynamic_filter_fn(move |metadata, _| own(metadata) && nova_rpc::trace::may_record()).with_callsite_filter(
        move |metadata| if own(metadata) { Interest::sometimes() } else { Interest::never() },
    )
}
