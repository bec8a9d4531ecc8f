//! Logs, metrics and traces. None of them can slow or block an order: logs are lines on standard
//! error, metrics are atomics, and spans go through a bounded queue that drops when it is full.

use std::borrow::Cow;
use std::error::Error;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
    TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider, Span as SdkSpan,
};
use tracing_subscriber::EnvFilter;

/// The most spans that wait for the collector; the next one is dropped.
const SPANS_WAITING_MAX: usize = 4_096;
/// Upper bounds of latency histograms, in seconds.
const BUCKETS: &[f64] = &[
    0.000_01, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1,
    0.25, 0.5, 1.0, 2.5, 5.0,
];

/// Makes spans. Counters and the like are the macros of [`crate::metrics`].
#[derive(Clone)]
pub struct Telemetry(Arc<Inner>);

struct Inner {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Telemetry")
    }
}

impl Telemetry {
    /// Spans have valid trace contexts, and go nowhere.
    #[must_use]
    pub fn without_export() -> Self {
        Self::from_provider(SdkTracerProvider::builder().build())
    }

    /// Spans go to a collector, by OTLP as protobuf over HTTP, from a thread of their own.
    ///
    /// # Errors
    /// When `url` (such as `http://127.0.0.1:4318`) is not one.
    pub fn exporting(service: &str, url: &str) -> Result<Self, Box<dyn Error + Send + Sync>> {
        // The exporter's HTTP client takes the process's provider of cryptography; another part of
        // the process may have named the same one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let endpoint = format!("{}/v1/traces", url.trim_end_matches('/'));
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint)
            .with_timeout(Duration::from_secs(5))
            .build()?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(SPANS_WAITING_MAX)
            .with_scheduled_delay(Duration::from_secs(1))
            .build();
        let processor = BatchSpanProcessor::builder(exporter)
            .with_batch_config(batches)
            .build();
        let resource = Resource::builder_empty()
            .with_service_name(format!("portcullis-{service}"))
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_resource(resource)
            .build();
        Ok(Self::from_provider(provider))
    }

    fn from_provider(provider: SdkTracerProvider) -> Self {
        let tracer = provider.tracer("portcullis");
        Self(Arc::new(Inner { provider, tracer }))
    }

    /// Begins a span. `parent` is the `traceparent` of the message that caused it (W3C Trace
    /// Context); anything that is not one begins a new trace.
    #[must_use]
    pub fn span(&self, name: &'static str, parent: &str) -> Span {
        let parent = match parse_traceparent(parent) {
            Some(context) => Context::new().with_remote_span_context(context),
            None => Context::new(),
        };
        Span(self.0.tracer.start_with_context(name, &parent))
    }

    /// Sends what is still waiting, for at most a second: a collector that is away must not hold up
    /// the end.
    pub(crate) async fn shutdown(&self) {
        let provider = self.0.provider.clone();
        let patience = Duration::from_secs(1);
        let ending = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(patience));
        // What was not sent by then is lost.
        let _ = tokio::time::timeout(patience, ending).await;
    }
}

/// Something that takes time, from its making to its dropping.
#[derive(Debug)]
pub struct Span(SdkSpan);

impl Span {
    /// The context to send along, as W3C `traceparent`.
    #[must_use]
    pub fn traceparent(&self) -> String {
        let context = self.0.span_context();
        format!(
            "00-{:032x}-{:016x}-{:02x}",
            context.trace_id(),
            context.span_id(),
            context.trace_flags()
        )
    }

    /// Notes something about it. Never a secret.
    pub fn set(&mut self, key: &'static str, value: impl Into<Cow<'static, str>>) {
        let value: Cow<'static, str> = value.into();
        self.0.set_attribute(KeyValue::new(key, value));
    }

    /// Notes that it failed, and why.
    pub fn fail(&mut self, reason: impl Into<Cow<'static, str>>) {
        self.0
            .set_status(opentelemetry::trace::Status::error(reason));
    }
}

/// Reads version 00 of a `traceparent`; ids of zeroes are none.
fn parse_traceparent(text: &str) -> Option<SpanContext> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let lengths = (version.len(), trace.len(), span.len(), flags.len());
    if version != "00" || lengths != (2, 32, 16, 2) || parts.next().is_some() {
        return None;
    }
    let trace = TraceId::from_hex(trace).ok()?;
    let span = SpanId::from_hex(span).ok()?;
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let context = SpanContext::new(trace, span, flags, true, TraceState::NONE);
    context.is_valid().then_some(context)
}

/// The one recorder of metrics in this process.
pub(crate) fn recorder() -> &'static PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| {
        let builder = PrometheusBuilder::new();
        let builder = match builder.set_buckets(BUCKETS) {
            Ok(builder) => builder,
            // Only an empty list is refused.
            Err(_) => PrometheusBuilder::new(),
        };
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("metrics already go elsewhere");
        }
        handle
    })
}

/// Logs go to standard error as JSON, filtered by `RUST_LOG` (default `info`).
pub(crate) fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,async_nats=warn,opentelemetry=warn"));
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .finish();
    // A test may have set its own already.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_child_stays_in_the_trace_of_its_parent() {
        let telemetry = Telemetry::without_export();
        let child = telemetry.span("child", PARENT).traceparent();
        assert_eq!(child.get(..36), PARENT.get(..36));
        assert_ne!(child.get(36..52), PARENT.get(36..52));
        assert_eq!(child.len(), 55);
    }

    #[test]
    fn without_a_parent_a_new_and_valid_trace_begins() {
        let telemetry = Telemetry::without_export();
        let bad = [
            "",
            "nonsense",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ];
        for parent in bad {
            let first = telemetry.span("root", parent).traceparent();
            let second = telemetry.span("root", parent).traceparent();
            assert!(
                parse_traceparent(&first).is_some(),
                "{parent:?} gave {first:?}"
            );
            assert_ne!(first.get(..36), second.get(..36), "{parent:?}");
        }
    }
}
