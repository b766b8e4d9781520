use std::io;
use std::time::Duration;

use async_graphql::{Response as GraphqlResponse, Value};
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;
use futures_util::StreamExt;
use futures_util::future::ready;
use futures_util::stream::{once, unfold};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::format::StreamFormat;
use super::response::insert_cost;
use crate::graphql::{Cost, ErrorCode, is_request_error};
use crate::metrics::GaugeGuard;
use crate::telemetry::RequestContext;
use crate::transport::errors::{code, unauthenticated};
use crate::transport::lifetime::{End, Lifetime};
use crate::transport::sockets::SocketPermit;
use crate::transport::subscription::Subscription;

/// Time between heartbeats: a fraction of the 60 s after which proxies and clients usually close a silent connection. A client
/// that leaves one unacknowledged is found dead by the TCP user timeout.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Tells nginx to pass each chunk on.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// A subscription over HTTP, in place of a socket.
///
/// Has neither a task nor a queue: the connection polls it as the body of the response, so that a slow client exerts
/// back-pressure, and a disconnect drops it.
pub(super) struct SubscriptionStream {
    subscription: Subscription,
    lifetime: Lifetime,
    heartbeats: Interval,
    format: StreamFormat,
    /// Cost to report in the first response, if the client asks for it.
    cost: Option<Cost>,
    _permit: SocketPermit,
    _open: GaugeGuard,
}

impl SubscriptionStream {
    pub(super) fn new(
        subscription: Subscription,
        lifetime: Lifetime,
        format: StreamFormat,
        cost: Option<Cost>,
        permit: SocketPermit,
        open: GaugeGuard,
    ) -> Self {
        let mut heartbeats = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { subscription, lifetime, heartbeats, format, cost, _permit: permit, _open: open }
    }

    pub(super) fn into_response(self) -> Response {
        let format = self.format;
        let mut response = Response::new(self.into_body());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
        // A proxy that compresses would hold chunks back.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
        headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
        response
    }

    fn into_body(self) -> Body {
        let context = RequestContext::current();
        let opening = once(ready(Ok(self.format.opening())));
        let chunks = unfold(Some(Box::new(self)), move |stream| {
            context.clone().scope(async { Some(stream?.next_chunk().await) })
        });
        Body::from_stream(opening.chain(chunks))
    }

    /// Returns the next chunk, and the stream unless that was the last one.
    async fn next_chunk(mut self: Box<Self>) -> (io::Result<Vec<u8>>, Option<Box<Self>>) {
        let format = self.format;
        tokio::select! {
            biased;
            end = self.lifetime.ended() => (self.end(end), None),
            response = self.subscription.next() => match response {
                Some(response) if is_outage(&response) => (Err(abort("the database is unavailable")), None),
                Some(response) if is_request_error(&response) => (Ok(format.single(&response)), None),
                Some(mut response) => {
                    if let Some(cost) = self.cost.take() {
                        insert_cost(&mut response, cost);
                    }
                    (Ok(format.response(&response)), Some(self))
                }
                None => (Ok(format.completion().into()), None),
            },
            _ = self.heartbeats.tick() => (Ok(format.heartbeat()), Some(self)),
        }
    }

    /// Returns the last chunk of a stream whose operation has not ended.
    fn end(self: Box<Self>, end: End) -> io::Result<Vec<u8>> {
        match end {
            End::Unauthenticated(reason) => {
                let error = unauthenticated(reason);
                self.subscription.refuse(&error);
                Ok([&self.format.error(error), self.format.completion()].concat())
            }
            End::Shutdown => Err(abort("the service shuts down")),
        }
    }
}

/// Aborts the response: clients reconnect after an aborted one, but not after a complete one.
fn abort(reason: &'static str) -> io::Error {
    io::Error::other(reason)
}

/// Returns true if a response has no data because the database is unavailable. Sent, it would end the subscription for good,
/// or lose an event.
fn is_outage(response: &GraphqlResponse) -> bool {
    response.data == Value::Null
        && response.errors.iter().any(|error| code(error) == ErrorCode::ServiceUnavailable)
}

#[cfg(test)]
mod tests;
