//! Chunks on paused time, with responses of a channel.

use async_graphql::{PathSegment, ServerError};
use futures_util::stream::{BoxStream, iter, pending, poll_fn};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::graphql::{RequestId, wire_error};
use crate::metrics::Metrics;
use crate::transport::observation::Observation;
use crate::transport::sockets::Sockets;

const LIFETIME: Duration = Duration::from_mins(15);

/// A client that reads chunk by chunk.
struct Client {
    chunks: axum::body::BodyDataStream,
    shutdown: CancellationToken,
    metrics: Metrics,
    began: Instant,
}

impl Client {
    fn subscribe(responses: BoxStream<'static, GraphqlResponse>, format: StreamFormat) -> Self {
        let metrics = Metrics::default();
        let shutdown = CancellationToken::new();
        let request_id = RequestId("".into());
        let observation =
            Observation::new(request_id, metrics.clone(), Duration::MAX, std::time::Instant::now());
        let subscription = Subscription::new(responses, observation, &metrics);
        let lifetime = Lifetime::anonymous(LIFETIME, shutdown.clone());
        let permit = Sockets::new(1, 1).admit().unwrap();
        let open = GaugeGuard::new(&metrics.sockets);
        let stream = SubscriptionStream::new(subscription, lifetime, format, None, permit, open);
        let chunks = stream.into_response().into_body().into_data_stream();
        Self { chunks, shutdown, metrics, began: Instant::now() }
    }

    async fn chunk(&mut self) -> Option<String> {
        let chunk = self.chunks.next().await?.unwrap();
        Some(String::from_utf8(chunk.to_vec()).unwrap())
    }
}

fn response(n: i32) -> GraphqlResponse {
    GraphqlResponse::new(Value::from(n))
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_has_a_heartbeat_each_ten_seconds() {
    for (format, opening, heartbeat) in [
        (
            StreamFormat::Multipart,
            "\r\n--graphql",
            "\r\ncontent-type: application/json\r\n\r\n{}\r\n--graphql",
        ),
        (StreamFormat::EventStream, ":\n\n", ":\n\n"),
    ] {
        let mut client = Client::subscribe(pending().boxed(), format);
        assert_eq!(client.chunk().await.as_deref(), Some(opening));
        assert_eq!(client.began.elapsed(), Duration::ZERO);
        for beat in 1..=3 {
            assert_eq!(client.chunk().await.as_deref(), Some(heartbeat));
            assert_eq!(client.began.elapsed(), HEARTBEAT * beat);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_a_token_ends_with_an_error_after_its_lifetime() {
    for (format, error, end) in [
        (
            StreamFormat::Multipart,
            "\r\ncontent-type: application/json\r\n\r\n{\"payload\":null,\"errors\":[{\"message\":",
            "}]}\r\n--graphql--\r\n",
        ),
        (
            StreamFormat::EventStream,
            "event: next\ndata: {\"errors\":[{\"message\":",
            "}]}\n\nevent: complete\ndata:\n\n",
        ),
    ] {
        let mut client = Client::subscribe(pending().boxed(), format);
        let last = loop {
            let chunk = client.chunk().await.unwrap();
            if chunk.contains("errors") {
                break chunk;
            }
        };
        assert_eq!(client.began.elapsed(), LIFETIME);
        assert!(last.starts_with(error) && last.ends_with(end), "{last:?}");
        assert!(last.contains(r#""code":"UNAUTHENTICATED","reason":"MISSING""#), "{last:?}");
        assert_eq!(client.chunk().await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_is_taken_only_when_the_last_one_was_read() {
    let (sender, mut receiver) = mpsc::channel(1);
    let responses = poll_fn(move |cx| receiver.poll_recv(cx)).boxed();
    let mut client = Client::subscribe(responses, StreamFormat::EventStream);
    client.chunk().await.unwrap();
    for n in 0..3 {
        sender.send(response(n)).await.unwrap();
        assert!(sender.try_send(response(n)).is_err(), "the first is still in the channel");
        assert_eq!(client.chunk().await, Some(format!("event: next\ndata: {{\"data\":{n}}}\n\n")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_cuts_the_stream_off() {
    for format in [StreamFormat::Multipart, StreamFormat::EventStream] {
        let mut client = Client::subscribe(pending().boxed(), format);
        client.chunk().await.unwrap();
        client.shutdown.cancel();
        assert!(client.chunks.next().await.unwrap().is_err(), "a complete response would not be resumed");
        assert!(client.chunks.next().await.is_none());
        assert_eq!(client.began.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_cuts_the_stream_off_unless_there_is_data() {
    let failure = |code, data| {
        let path = vec![PathSegment::Field("a".into())];
        let mut response = GraphqlResponse::new(data);
        response.errors = vec![ServerError { path, ..wire_error(code, "it fails") }];
        response
    };
    for format in [StreamFormat::Multipart, StreamFormat::EventStream] {
        for (code, data, is_sent) in [
            (ErrorCode::ServiceUnavailable, Value::Null, false),
            (ErrorCode::ServiceUnavailable, Value::from(1), true),
            (ErrorCode::NotFound, Value::Null, true),
        ] {
            let responses = iter([response(1), failure(code, data)]).boxed();
            let mut client = Client::subscribe(responses, format);
            client.chunk().await.unwrap();
            client.chunk().await.unwrap();
            assert_eq!(client.chunks.next().await.unwrap().is_ok(), is_sent, "{code:?}");
            let end = is_sent.then(|| String::from_utf8(format.completion().to_vec()).unwrap());
            assert_eq!(client.chunk().await, end, "{code:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_stream_is_not_counted_any_more() {
    let mut client = Client::subscribe(pending().boxed(), StreamFormat::Multipart);
    client.chunk().await.unwrap();
    assert_eq!((client.metrics.sockets.get(), client.metrics.subscriptions.get()), (1, 1));
    drop(client.chunks);
    assert_eq!((client.metrics.sockets.get(), client.metrics.subscriptions.get()), (0, 0));
}
