use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use async_graphql::Executor;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::Shutdown;
use super::router::router;
use crate::config::{Config, HttpSettings};
use crate::graphql::Engine;
use crate::housekeeping;
use crate::state::AppState;
use crate::transport::Peer;

/// Headers of a request, in number and in bytes.
const MAX_HEADERS: usize = 64;
const MAX_HEAD_BYTES: usize = 32 << 10;
/// How long accepting rests when the system has no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long connections may still ask when the service stops: what they have sent may not have been read yet.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// A connection, whose it is, and its place among those that there may be.
type Accepted = (TcpStream, Peer, OwnedSemaphorePermit);

/// Serves until `shutdown`, then finishes what it has begun within the limit of the settings.
pub async fn serve<E: Executor>(
    listener: TcpListener,
    state: AppState,
    engine: Engine<E>,
    config: &Config,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let tasks = TaskTracker::new();
    let router = router(state.clone(), Arc::new(engine), config, tasks.clone(), shutdown.clone());
    tasks.spawn(housekeeping::run(state.clone(), shutdown.clone()));
    listen(listener, &router, &config.http, &tasks, &shutdown).await;
    tracing::info!("stopping: no new connections, finishing what has begun");
    finish(&tasks, &config.http).await;
    state.database.close();
    Ok(())
}

/// Accepts connections until `shutdown`, and those last of all that came before it.
pub(super) async fn listen(
    listener: TcpListener,
    router: &Router,
    settings: &HttpSettings,
    tasks: &TaskTracker,
    shutdown: &Shutdown,
) {
    let server = http_server(settings);
    let places = Arc::new(Semaphore::new(settings.max_connections));
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            () = shutdown.requested() => break,
        };
        match accepted {
            Ok(accepted) => connect(&server, router, tasks, shutdown, accepted, settings),
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    match close(listener, &places) {
        Ok(last) => {
            for accepted in last {
                connect(&server, router, tasks, shutdown, accepted, settings);
            }
        }
        Err(error) => tracing::warn!(%error, "can't close the listener in order"),
    }
}

/// Waits for what has begun, within the limit of the settings.
pub(super) async fn finish(tasks: &TaskTracker, settings: &HttpSettings) {
    tasks.close();
    if timeout(settings.shutdown_timeout, tasks.wait()).await.is_err() {
        tracing::warn!("stopped before everything was finished");
    }
}

/// The next connection, once there is a place for it: those beyond wait in the system's queue.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> std::io::Result<Accepted> {
    let place = Arc::clone(places).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, Peer(peer.ip()), place))
}

/// Stops listening and returns those who were in the system's queue by then: they have connected in time.
fn close(listener: TcpListener, places: &Arc<Semaphore>) -> std::io::Result<Vec<Accepted>> {
    let listener = listener.into_std()?;
    let mut last = Vec::new();
    while let Ok(place) = Arc::clone(places).try_acquire_owned()
        && let Ok((stream, peer)) = listener.accept()
    {
        stream.set_nonblocking(true)?;
        last.push((TcpStream::from_std(stream)?, Peer(peer.ip()), place));
    }
    Ok(last)
}

/// A connection that ends when its client does not take what it asked for.
fn patient(stream: TcpStream, settings: &HttpSettings) -> Pin<Box<TimeoutStream<TcpStream>>> {
    // Answers are written whole: waiting for more of them only adds time.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(settings.read_timeout));
    Box::pin(stream)
}

/// HTTP/1.1, as proxies speak it to what is behind them; TLS and HTTP/2 are theirs.
fn http_server(settings: &HttpSettings) -> http1::Builder {
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        // Also ends connections that ask for nothing more.
        .header_read_timeout(settings.read_timeout)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES);
    server
}

/// Serves a connection on a task of its own, until its client is done or the service stops.
fn connect(
    server: &http1::Builder,
    router: &Router,
    tasks: &TaskTracker,
    shutdown: &Shutdown,
    (stream, peer, place): Accepted,
    settings: &HttpSettings,
) {
    let with_peer = move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request
    };
    let stopping = shutdown.clone();
    // A client that is told does not send its next request into a connection that is being closed.
    let with_goodbye = move |mut response: Response<Body>| {
        if stopping.is_requested() {
            // That of an upgrade stays.
            response.headers_mut().entry(header::CONNECTION).or_insert(HeaderValue::from_static("close"));
        }
        response
    };
    let service = TowerToHyperService::new(router.clone().map_request(with_peer).map_response(with_goodbye));
    let stream = TokioIo::new(patient(stream, settings));
    let connection = server.serve_connection(stream, service).with_upgrades();
    let shutdown = shutdown.clone();
    tasks.spawn(async move {
        let _place = place;
        let mut connection = pin!(connection);
        let last_words = async {
            shutdown.requested().await;
            // In two steps: a process that was held up in the first one reads in the second what came meanwhile.
            sleep(LAST_WORDS / 2).await;
            sleep(LAST_WORDS / 2).await;
        };
        let ended = tokio::select! {
            // First comes what has arrived by now.
            biased;
            ended = connection.as_mut() => ended,
            () = last_words => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        // A client that goes away or is too slow is no event.
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended");
        }
    });
}
