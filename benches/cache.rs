//! Measures `me` with and without the cache, with the database near and far: `cargo bench --bench cache`.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a program to be read by its author"
)]

#[path = "support/mod.rs"]
mod fixture;

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use diesel_async::SimpleAsyncConnection;
use fixture::{Fixture, connector};
use secrecy::ExposeSecret;
use todo_api::cli::serve_until;
use todo_api::crypto;
use todo_api::data_dir::DataDir;
use todo_api::db::embedded::EmbeddedPostgres;
use todo_api::db::{DatabaseUrl, migrations};
use todo_api::metrics::CacheOutcome;
use todo_api::state::AppState;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Duration of each measurement.
const TIME: Duration = Duration::from_secs(3);
const CONNECTIONS: usize = 32;
/// Enough that no user sends two requests within a second.
const USERS: usize = 50_000;

/// Distribution of requests over users.
#[derive(Clone, Copy, PartialEq)]
enum Load {
    /// Each connection belongs to one user, for all requests.
    SameUsers,
    /// Each request belongs to another user.
    NewUsers,
}

#[tokio::main]
async fn main() {
    crypto::install_provider();
    let dir = tempfile::TempDir::new().expect("there is room");
    let data_dir = DataDir::open(Some(dir.path())).expect("it can be written to");
    let postgres = EmbeddedPostgres::start(data_dir, None).await.expect("PostgreSQL starts");
    let url = std::fs::read_to_string(dir.path().join("database-url")).expect("it is published");
    let users = prepare(url.trim()).await;
    let redis = Redis::start(dir.path()).await;
    println!("| database | Redis | users | requests a second | p50 | p99 | from Redis |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for away in [0, 5, 30] {
        for load in [Load::SameUsers, Load::NewUsers] {
            line(url.trim(), away, None, load, &users).await;
            line(url.trim(), away, Some((redis.port, 0)), load, &users).await;
            if away > 0 {
                line(url.trim(), away, Some((redis.port, away)), load, &users).await;
            }
        }
    }
    drop((redis, postgres));
}

/// Creates the users.
async fn prepare(url: &str) -> Vec<Uuid> {
    let connector = connector(url);
    migrations::run(&connector).await.expect("they run");
    let sql = format!(
        "INSERT INTO users (id, email, name, hashed_password)
         SELECT lpad(to_hex(n), 32, '0')::uuid, 'user' || n || '@example.com', 'User', '$argon2id$'
         FROM generate_series(1, {USERS}) n"
    );
    connector.connect().await.expect("it is there").batch_execute(&sql).await.expect("they are new");
    (1..=USERS as u128).map(Uuid::from_u128).collect()
}

/// Measures and prints one line.
async fn line(url: &str, away: u64, redis: Option<(u16, u64)>, load: Load, users: &[Uuid]) {
    let port = DatabaseUrl::parse(url).map(|_| port_of(url)).expect("it is a URL");
    let far = url.replace(&format!(":{port}/"), &format!(":{}/", delayed(port, away).await));
    let mut flags = Vec::new();
    if let Some((port, away)) = redis {
        flags.push(format!("--redis-url=redis://127.0.0.1:{}", delayed(port, away).await));
    }
    let Fixture { config, state, engine } = Fixture::new(&far, &flags);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
    let address = listener.local_addr().expect("it is bound");
    let shutdown = CancellationToken::new();
    let serving = {
        let state = state.clone();
        let shutdown = shutdown.clone();
        tokio::spawn(async move { serve_until(listener, state, engine, &config, shutdown).await })
    };
    let requests: Arc<Vec<Vec<u8>>> = Arc::new(users.iter().map(|id| request(&state, *id)).collect());
    ask(address, &requests, load, Duration::from_millis(500)).await;
    let before = state.metrics.cache_requests.get(CacheOutcome::Hit).get();
    let mut times = ask(address, &requests, load, TIME).await;
    let hits =
        (state.metrics.cache_requests.get(CacheOutcome::Hit).get() - before) * 100 / times.len() as u64;
    times.sort_unstable();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)].as_secs_f64() * 1000.0;
    let redis = redis.map_or_else(|| "none".to_owned(), |(_, away)| format!("{away} ms"));
    let users = if load == Load::SameUsers { "the same 32" } else { "another each time" };
    let rate = times.len() as u64 / TIME.as_secs();
    println!("| {away} ms | {redis} | {users} | {rate} | {:.1} ms | {:.1} ms | {hits} % |", at(50), at(99));
    shutdown.cancel();
    let _ = serving.await;
}

fn port_of(url: &str) -> u16 {
    let (_, after) = url.rsplit_once("127.0.0.1:").expect("it is on this machine");
    after.split('/').next().and_then(|port| port.parse().ok()).expect("it has a port")
}

fn request(state: &AppState, user_id: Uuid) -> Vec<u8> {
    let now = state.clock.now();
    let issued = state.auth.access_tokens().issue(user_id, Uuid::new_v4(), now, Duration::from_mins(10));
    let (token, _) = issued.expect("it can be signed");
    let body = r#"{"query":"{ me { id email name createdAt updatedAt } }"}"#;
    format!(
        "POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Authorization: Bearer {}\r\n\r\n{body}",
        body.len(),
        token.expose_secret()
    )
    .into_bytes()
}

/// Sends requests for a time; returns the duration of each.
async fn ask(address: SocketAddr, requests: &Arc<Vec<Vec<u8>>>, load: Load, time: Duration) -> Vec<Duration> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let mut asking = JoinSet::new();
    for number in 0..CONNECTIONS {
        let requests = Arc::clone(requests);
        asking.spawn(async move {
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            stream.set_nodelay(true).expect("it can be set");
            let mut times = Vec::new();
            let until = Instant::now() + time;
            while Instant::now() < until {
                let number = match load {
                    Load::SameUsers => number,
                    Load::NewUsers => NEXT.fetch_add(1, Ordering::Relaxed) % requests.len(),
                };
                let began = Instant::now();
                stream.write_all(&requests[number]).await.expect("it is taken");
                answer(&mut stream).await;
                times.push(began.elapsed());
            }
            times
        });
    }
    asking.join_all().await.concat()
}

/// Reads one response, which must be free of errors.
async fn answer(stream: &mut TcpStream) {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        let length = stream.read(&mut part).await.expect("it goes on");
        assert!(length > 0, "the service has closed the connection");
        bytes.extend_from_slice(&part[..length]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let wanted = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= wanted.unwrap_or(usize::MAX) {
            assert!(body.contains("@example.com") && !body.contains("errors"), "{text}");
            return;
        }
    }
}

/// Opens a port that forwards to another one, and delays each direction by half the time.
async fn delayed(port: u16, milliseconds: u64) -> u16 {
    if milliseconds == 0 {
        return port;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
    let own = listener.local_addr().expect("it is bound").port();
    let delay = Duration::from_micros(milliseconds * 500);
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            let (near_in, near_out) = near.into_split();
            let (far_in, far_out) = far.into_split();
            tokio::spawn(pass(near_in, far_out, delay));
            tokio::spawn(pass(far_in, near_out, delay));
        }
    });
    own
}

async fn pass(
    mut from: impl AsyncReadExt + Unpin + Send + 'static,
    mut to: impl AsyncWriteExt + Unpin,
    delay: Duration,
) {
    // Unbounded, so that the delay does not limit the throughput.
    let (sender, mut under_way) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut part = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from.read(&mut part).await {
            if sender.send((tokio::time::Instant::now() + delay, part[..length].to_vec())).is_err() {
                break;
            }
        }
    });
    while let Some((at, bytes)) = under_way.recv().await {
        tokio::time::sleep_until(at).await;
        if to.write_all(&bytes).await.is_err() {
            break;
        }
    }
}

/// A Redis server, killed when it is dropped.
struct Redis {
    port: u16,
    process: Child,
}

impl Redis {
    async fn start(dir: &std::path::Path) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a port");
        let port = listener.local_addr().expect("it is bound").port();
        drop(listener);
        let process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"])
            .current_dir(dir)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Self { port, process }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
