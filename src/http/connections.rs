use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, header};
use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use hyper::server::conn::http1::{self, UpgradeableConnection};
use hyper::service::{HttpService, Service};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutWriter;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::lingering::{LingeringStream, UnreadBody, WatchedBody};
use super::routes::Routes;
use crate::config::HttpSettings;
use crate::transport::Peer;

/// Limits on a request's headers.
const MAX_HEADERS: usize = 64;
const MAX_HEAD_BYTES: usize = 32 << 10;
/// Pause after a failed accept, as when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Time after which a client that acknowledges no data, or takes none, is dead. With the system's default of a quarter of an
/// hour, a dead client's stream over HTTP would count as a socket for that long: unlike on a WebSocket, no ping finds it.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);
/// Time after a shutdown request in which connections may still send requests, as some may not have been read yet.
const LAST_REQUESTS: Duration = Duration::from_millis(100);

/// A connection with its remote address and its permit.
type Accepted = (TcpStream, Peer, OwnedSemaphorePermit);

/// The stream of a connection, with its write timeout.
type ClientStream = TokioIo<LingeringStream<Pin<Box<TimeoutWriter<TcpStream>>>>>;

/// Accepts connections until `shutdown`, and at last those that were in the backlog by then.
pub(super) async fn accept_until_shutdown(
    listener: TcpListener,
    routes: Routes,
    settings: HttpSettings,
    tasks: TaskTracker,
    shutdown: CancellationToken,
) {
    let server = http_server(&settings);
    let permits = Arc::new(Semaphore::new(settings.max_connections));
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &permits) => accepted,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok(accepted) => serve_connection(&server, &routes, &tasks, &shutdown, accepted, &settings),
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    match close(listener, &permits) {
        Ok(last) => {
            for accepted in last {
                serve_connection(&server, &routes, &tasks, &shutdown, accepted, &settings);
            }
        }
        Err(error) => tracing::warn!(%error, "can't drain the listener's backlog"),
    }
}

/// Waits for connections and tasks in progress, within the time limit of the settings.
pub(super) async fn drain(tasks: &TaskTracker, settings: &HttpSettings) {
    tasks.close();
    if timeout(settings.shutdown_timeout, tasks.wait()).await.is_err() {
        tracing::warn!("shutdown timeout: some requests were cut off");
    }
}

/// Accepts the next connection once a permit is free; until then connections wait in the backlog.
async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> std::io::Result<Accepted> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, Peer(peer.ip()), permit))
}

/// Stops listening and returns the connections in the backlog, whose clients connected in time.
fn close(listener: TcpListener, permits: &Arc<Semaphore>) -> std::io::Result<Vec<Accepted>> {
    let listener = listener.into_std()?;
    let mut last = Vec::new();
    while let Ok(permit) = Arc::clone(permits).try_acquire_owned()
        && let Ok((stream, peer)) = listener.accept()
    {
        stream.set_nonblocking(true)?;
        last.push((TcpStream::from_std(stream)?, Peer(peer.ip()), permit));
    }
    Ok(last)
}

/// Wraps a connection so that it ends when its client stops reading the response, but not before a client that sends an
/// unread body could read it.
fn client_stream(stream: TcpStream, settings: &HttpSettings, unread: UnreadBody) -> ClientStream {
    // Responses are written whole, so Nagle's algorithm would only add latency.
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(TCP_USER_TIMEOUT));
    let mut stream = TimeoutWriter::new(stream);
    stream.set_timeout(Some(settings.read_timeout));
    TokioIo::new(LingeringStream::new(Box::pin(stream), unread, settings.read_timeout))
}

/// Configures HTTP/1.1, which reverse proxies speak to their upstreams; TLS and HTTP/2 are theirs.
fn http_server(settings: &HttpSettings) -> http1::Builder {
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        // Ends idle keep-alive connections as well.
        .header_read_timeout(settings.read_timeout)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES);
    server
}

/// Serves a connection on a task of its own until its client closes it or the service shuts down.
fn serve_connection(
    server: &http1::Builder,
    routes: &Routes,
    tasks: &TaskTracker,
    shutdown: &CancellationToken,
    (stream, peer, permit): Accepted,
    settings: &HttpSettings,
) {
    let unread = UnreadBody::default();
    let stream = client_stream(stream, settings, unread.clone());
    let shutdown = shutdown.clone();
    let connection = Connection { routes: routes.clone(), peer, unread, shutdown: shutdown.clone() };
    let service = ConnectionService(Arc::new(connection));
    let connection = server.serve_connection(stream, service).with_upgrades();
    tasks.spawn(async move {
        let _permit = permit;
        // Disconnects and timeouts of clients are normal.
        if let Err(error) = drive(connection, &shutdown).await {
            tracing::debug!(%error, "a connection ended");
        }
    });
}

/// State shared by the requests of a connection.
struct Connection {
    routes: Routes,
    peer: Peer,
    unread: UnreadBody,
    shutdown: CancellationToken,
}

impl Connection {
    async fn respond(&self, request: Request<Incoming>) -> Response<Body> {
        let request = request.map(|body| Body::new(WatchedBody::new(body, &self.unread)));
        let mut response = self.routes.respond(request, self.peer).await;
        // Tells clients not to send their next request into a connection that is being closed, as hyper does with one whose
        // body is unread.
        if self.shutdown.is_cancelled() || self.unread.is_set() {
            // An upgrade keeps its own.
            response.headers_mut().entry(header::CONNECTION).or_insert(HeaderValue::from_static("close"));
        }
        response
    }
}

/// Service of a connection.
struct ConnectionService(Arc<Connection>);

impl Service<Request<Incoming>> for ConnectionService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let connection = Arc::clone(&self.0);
        Box::pin(async move { Ok(connection.respond(request).await) })
    }
}

/// Runs a connection to its end. After the shutdown request it answers what has arrived and closes.
async fn drive<S>(
    connection: UpgradeableConnection<ClientStream, S>,
    shutdown: &CancellationToken,
) -> hyper::Result<()>
where
    S: HttpService<Incoming, ResBody = Body>,
    S::Error: Into<axum::BoxError>,
{
    let mut connection = pin!(connection);
    let grace = async {
        shutdown.cancelled().await;
        // Two timers: if the process was stalled during the first, it reads what arrived meanwhile during the second.
        sleep(LAST_REQUESTS / 2).await;
        sleep(LAST_REQUESTS / 2).await;
    };
    tokio::select! {
        // Requests that have arrived take precedence over the shutdown.
        biased;
        ended = connection.as_mut() => ended,
        () = grace => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}
