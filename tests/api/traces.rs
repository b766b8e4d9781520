//! Traces sent to a collector, without secrets.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::common::v1::{AnyValue as Any, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::support::{PASSWORD, SECRET, Service, TestDatabase};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A collector of OTLP over HTTP.
struct Collector {
    endpoint: String,
    received: Arc<Mutex<Vec<Bytes>>>,
    _task: AbortOnDropHandle<()>,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let received = Arc::<Mutex<Vec<Bytes>>>::default();
        let store = Arc::clone(&received);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let store = Arc::clone(&store);
                let answer = service_fn(move |request: hyper::Request<Incoming>| {
                    let store = Arc::clone(&store);
                    async move {
                        assert_eq!(request.uri().path(), "/v1/traces");
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        store.lock().unwrap().push(body);
                        Ok::<_, Infallible>(hyper::Response::new(Empty::<Bytes>::new()))
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        Self { endpoint, received, _task: AbortOnDropHandle::new(task) }
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.requests();
        let scopes = requests.into_iter().flat_map(|r| r.resource_spans).flat_map(|r| r.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    fn requests(&self) -> Vec<ExportTraceServiceRequest> {
        let received = self.received.lock().unwrap();
        received.iter().map(|bytes| ExportTraceServiceRequest::decode(bytes.clone()).unwrap()).collect()
    }

    /// Returns all received bytes as text.
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.received.lock().unwrap().concat()).into_owned()
    }
}

fn attributes(attributes: &[KeyValue]) -> HashMap<String, String> {
    let text = |value: &Option<Any>| match value.as_ref().and_then(|any| any.value.as_ref()) {
        Some(AnyValue::StringValue(text)) => text.clone(),
        Some(AnyValue::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|pair| (pair.key.clone(), text(&pair.value))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Traced {
    service: Service,
    _database: TestDatabase,
}

impl Traced {
    async fn start(endpoint: &str) -> Self {
        let database = TestDatabase::new().await;
        let mut command = Service::command();
        command.env("DATABASE_URL", &database.url).env("JWT_SECRET", SECRET);
        let service = Service::start_command(command.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint));
        Self { service, _database: database }
    }

    async fn ask(&self, traceparent: &str, body: &Value) -> (HeaderMap, Value) {
        let request = reqwest::Client::new().post(format!("http://{}/graphql", self.service.address));
        let response = request.header("traceparent", traceparent).json(body).send().await.unwrap();
        (response.headers().clone(), response.json().await.unwrap())
    }

    /// Stops the service, which flushes its spans, on another thread than the collector's.
    async fn stop(self) {
        tokio::task::spawn_blocking(move || self.service.stop()).await.unwrap();
    }
}

fn register() -> Value {
    let query =
        "mutation Register($input: RegisterInput!) { register(input: $input) { accessToken refreshToken } }";
    let input = json!({ "email": "ada@example.com", "password": PASSWORD, "name": "Ada Lovelace" });
    json!({ "query": query, "variables": { "input": input } })
}

#[tokio::test]
async fn a_request_is_a_span_of_its_callers_trace_with_its_statements_below() {
    let collector = Collector::start().await;
    let traced = Traced::start(&collector.endpoint).await;
    let (headers, answer) = traced.ask(&format!("00-{TRACE}-{PARENT}-01"), &register()).await;
    traced.stop().await;

    let spans = collector.spans();
    let request = spans.iter().find(|span| {
        attributes(&span.attributes).get("graphql.operation.name").is_some_and(|name| name == "Register")
    });
    let request = request.unwrap_or_else(|| panic!("{spans:#?}"));
    assert_eq!((hex(&request.trace_id).as_str(), hex(&request.parent_span_id).as_str()), (TRACE, PARENT));
    assert_eq!((request.name.as_str(), request.kind()), ("POST /graphql", SpanKind::Server));
    let found = attributes(&request.attributes);
    for (name, value) in [
        ("graphql.operation.type", "mutation"),
        ("http.request.method", "POST"),
        ("url.path", "/graphql"),
        ("http.response.status_code", "200"),
    ] {
        assert_eq!(found.get(name).map(String::as_str), Some(value), "{name}: {found:?}");
    }
    let own = format!("00-{TRACE}-{}-01", hex(&request.span_id));
    assert_eq!(headers["traceparent"], own.as_str());

    let statements: Vec<_> = spans.iter().filter(|span| span.parent_span_id == request.span_id).collect();
    let texts: Vec<_> = statements.iter().map(|span| attributes(&span.attributes)).collect();
    assert!(texts.iter().all(|a| a["db.system.name"] == "postgresql"), "{texts:#?}");
    let insert = texts.iter().find(|a| a["db.query.text"].starts_with("INSERT INTO \"users\"")).unwrap();
    assert!(insert["db.query.text"].contains("$1"), "{insert:?}");
    assert!(statements.iter().all(|span| span.kind() == SpanKind::Client));

    let resource = collector.requests()[0].resource_spans[0].resource.clone().unwrap();
    assert_eq!(attributes(&resource.attributes)["service.name"], "todo-api");

    let sent = collector.text();
    let opened = &answer["data"]["register"];
    for secret in [PASSWORD, "$argon2", "ada@example.com", "Ada Lovelace", "binds", SECRET] {
        assert!(!sent.contains(secret), "{secret}");
    }
    for token in ["accessToken", "refreshToken"] {
        assert!(!sent.contains(opened[token].as_str().unwrap()), "{token}");
    }
}

#[tokio::test]
async fn unsampled_requests_are_not_sent() {
    let collector = Collector::start().await;
    let traced = Traced::start(&collector.endpoint).await;
    traced.ask(&format!("00-{TRACE}-{PARENT}-00"), &register()).await;
    let (headers, _) = traced.ask("nonsense", &json!({ "query": "query Sampled { __typename }" })).await;
    reqwest::get(format!("http://{}/health/ready", traced.service.address)).await.unwrap();
    traced.stop().await;

    let spans = collector.spans();
    assert!(!spans.iter().any(|span| hex(&span.trace_id) == TRACE), "{spans:#?}");
    // A malformed header counts as absent.
    let [sampled] = spans.as_slice() else { panic!("{spans:#?}") };
    assert!(sampled.parent_span_id.is_empty());
    assert_eq!(headers["traceparent"], format!("00-{}-{}-01", hex(&sampled.trace_id), hex(&sampled.span_id)));
}

#[tokio::test]
async fn each_operation_of_a_batch_is_a_span_below_that_of_the_request() {
    let collector = Collector::start().await;
    let traced = Traced::start(&collector.endpoint).await;
    let batch = json!([{ "query": "query One { __typename }" }, { "query": "query Two { __typename }" }]);
    traced.ask(&format!("00-{TRACE}-{PARENT}-01"), &batch).await;
    traced.stop().await;

    let spans = collector.spans();
    let request = spans.iter().find(|span| hex(&span.parent_span_id) == PARENT).unwrap();
    let below = spans.iter().filter(|span| span.parent_span_id == request.span_id);
    let mut names: Vec<_> =
        below.map(|span| attributes(&span.attributes)["graphql.operation.name"].clone()).collect();
    names.sort();
    assert_eq!(names, ["One", "Two"]);
}

#[tokio::test]
async fn without_a_collector_requests_are_served_and_the_service_stops() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let traced = Traced::start(&format!("http://{unused}")).await;
    let (_, answer) =
        traced.ask(&format!("00-{TRACE}-{PARENT}-01"), &json!({ "query": "{ __typename }" })).await;
    assert_eq!(answer["data"]["__typename"], "Query");
    traced.stop().await;
}

#[tokio::test]
async fn responses_name_no_span_without_tracing() {
    let database = TestDatabase::new().await;
    let mut command = Service::command();
    let service =
        Service::start_command(command.env("DATABASE_URL", &database.url).env("JWT_SECRET", SECRET));
    let request =
        reqwest::Client::new().get(format!("http://{}/graphql?query=%7B__typename%7D", service.address));
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let response = request.header("traceparent", traceparent).send().await.unwrap();
    assert!(response.headers().get("traceparent").is_none());
    service.stop();
}

#[test]
fn invalid_tracing_settings_stop_the_start() {
    for (endpoint, protocol, name) in [
        ("collector:4318", "", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ("http://collector:4317", "grpc", "OTEL_EXPORTER_OTLP_PROTOCOL"),
    ] {
        let mut command = Service::command();
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint).env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol);
        let output = Service::run(&mut command);
        assert_eq!(output.status.code(), Some(2));
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(name), "{error}");
    }
}
