//! OpenTelemetry traces: a span for each request, sent to a collector by OTLP.
//!
//! The SDK reads its standard variables from the environment. Without an endpoint there are no traces and no overhead.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::extract::Request;
use axum::http::{HeaderName, Response, StatusCode};
use opentelemetry::KeyValue;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Status, TraceContextExt, TracerProvider};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Level, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use super::context::{RequestContext, request_id};
use crate::db;
use crate::metrics::OperationKind;

/// Variables of the collector's endpoint; traces are off if neither is set.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
/// Variables of the protocol, of which one value is supported.
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const PROTOCOL: &str = "http/protobuf";
/// Default of `OTEL_SERVICE_NAME`.
const SERVICE: &str = "todo-api";
/// Time limit at exit for sending the last spans.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);
/// Target of spans of requests.
const TARGET: &str = "todo_api::requests";
/// Paths that probes and scrapers request every few seconds.
const UNTRACED: [&str; 3] = ["/health/live", "/health/ready", "/metrics"];

/// An exporter of spans to a collector; sends the last ones when dropped.
pub(super) struct Traces(SdkTracerProvider);

impl Traces {
    /// Creates the exporter that the environment configures; `None` without an endpoint.
    pub(super) fn from_environment() -> anyhow::Result<Option<Self>> {
        let set = |name: &&str| std::env::var(*name).ok().filter(|value| !value.is_empty());
        if !ENDPOINTS.iter().any(|name| set(name).is_some()) {
            return Ok(None);
        }
        for name in ENDPOINTS {
            if set(&name).is_some_and(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
                bail!("{name} must be a URL such as http://127.0.0.1:4318");
            }
        }
        if let Some(protocol) = PROTOCOLS.iter().find_map(set).filter(|protocol| protocol != PROTOCOL) {
            bail!(
                "{} must be {PROTOCOL}, the only supported protocol, not {protocol}",
                PROTOCOLS.join(" or ")
            );
        }
        let exporter = SpanExporter::builder().with_http().build();
        let exporter = exporter.with_context(|| ENDPOINTS.join(" or "))?;
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource());
        Ok(Some(Self(provider.build())))
    }

    /// Builds the layer that converts spans for OpenTelemetry: only spans of this module and of statements, since events
    /// and other spans may contain secrets.
    pub(super) fn layer<S>(&self) -> Box<dyn Layer<S> + Send + Sync>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let is_exported = filter_fn(|metadata| {
            metadata.is_span() && [TARGET, db::STATEMENTS_TARGET].contains(&metadata.target())
        });
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer(SERVICE))
            .with_context_activation(false)
            .with_tracked_inactivity(false)
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_level(false)
            .with_filter(is_exported)
            .boxed()
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        if self.0.shutdown_with_timeout(FLUSH_LIMIT).is_err() {
            tracing::warn!("cannot send the last traces");
        }
    }
}

fn resource() -> Resource {
    let resource =
        Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    let named = Resource::builder().build().get(&"service.name".into());
    let named = named.is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    if named { resource.build() } else { resource.with_service_name(SERVICE).build() }
}

/// Begins the context of a request. With traces its span is a child of the one in its `traceparent` header.
pub(crate) fn begin_request(request: &Request, id: Arc<str>) -> RequestContext {
    let span = if is_traced() { begin_span(request, &id) } else { Span::none() };
    RequestContext::new(Some(id), span)
}

fn begin_span(request: &Request, id: &str) -> Span {
    let path = request.uri().path();
    if UNTRACED.contains(&path) {
        return Span::none();
    }
    let span = tracing::info_span!(
        target: TARGET,
        "request",
        http.request.method = %request.method(),
        id,
        otel.kind = "server",
        url.path = path,
    );
    let _ = span.set_parent(TraceContextPropagator::new().extract(&HeaderExtractor(request.headers())));
    span.context().span().update_name(request.method().to_string());
    span
}

/// Returns the name of a request's span if its path exists; `None` if traces are off.
pub(crate) fn trace_name(request: &Request) -> Option<String> {
    is_traced().then(|| format!("{} {}", request.method(), request.uri().path()))
}

/// Completes the current span, that of a request: records its name and the status, and names the span in the response.
pub(crate) fn end_request<B>(response: &mut Response<B>, name: Option<String>) {
    if !is_traced() {
        return;
    }
    let span = Span::current();
    let status = response.status();
    span.set_attribute("http.response.status_code", i64::from(status.as_u16()));
    // Names of spans need low cardinality, so a path of which there is nothing is left out.
    if let Some(name) = name.filter(|_| status != StatusCode::NOT_FOUND) {
        span.context().span().update_name(name);
    }
    if status.is_server_error() {
        span.set_status(Status::error(""));
    }
    let context = span.context();
    if context.span().span_context().is_valid() {
        TraceContextPropagator::new().inject_context(&context, &mut HeaderInjector(response.headers_mut()));
        // The propagator copies it from the client, to whom it means nothing.
        response.headers_mut().remove(HeaderName::from_static("tracestate"));
    }
}

/// Begins the context of one operation of a batch, or of a socket that a request has opened. With traces it has a span.
pub(crate) fn begin_operation(socket_id: Option<Arc<str>>) -> RequestContext {
    let id = socket_id.as_deref();
    let span = if is_traced() { tracing::info_span!(target: TARGET, "operation", id) } else { Span::none() };
    RequestContext::new(socket_id.or_else(request_id), span)
}

/// Records the name and kind of an operation on the current span.
pub(crate) fn name_operation(name: Option<&str>, kind: OperationKind) {
    if !is_traced() {
        return;
    }
    let span = Span::current();
    span.set_attribute("graphql.operation.type", kind.as_str());
    if let Some(name) = name {
        span.set_attribute("graphql.operation.name", name.to_owned());
    }
}

/// True if traces are on, as only they take spans of statements.
fn is_traced() -> bool {
    tracing::span_enabled!(target: db::STATEMENTS_TARGET, Level::INFO)
}
