//! Shutdown: requests that have arrived are served, and idle connections do not delay it.

use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::support::{Client, SECRET, Service, TestApp, TestDatabase, rows};

const LIMIT: Duration = Duration::from_secs(30);
/// Longer than any test, so that waiting for this limit fails it.
const NEVER: [&str; 2] = ["--read-timeout=600s", "--shutdown-timeout=600s"];

/// Starts the real binary on a database of its own.
fn service(database: &TestDatabase, settings: &[(&str, &str)]) -> Service {
    let mut command = Service::command();
    command.env("DATABASE_URL", &database.url).envs(settings.iter().copied());
    Service::start_command(command.env("JWT_SECRET", SECRET))
}

/// Sends the head and the beginning of the body of a request, and waits until the service reads it.
async fn begin_body(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 26\r\n\
                Expect: 100-continue\r\n\r\n{\"query\":";
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(read_some(&mut stream).await.starts_with("HTTP/1.1 100 Continue"));
    stream
}

async fn read_some(stream: &mut TcpStream) -> String {
    let mut buffer = vec![0; 4096];
    let read = timeout(LIMIT, stream.read(&mut buffer)).await.unwrap().unwrap();
    String::from_utf8_lossy(&buffer[..read]).into_owned()
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    timeout(LIMIT, stream.read_to_string(&mut text)).await.expect("the connection ends").unwrap();
    text
}

/// Waits until connections are refused: the signal has arrived.
async fn refused(address: &str) {
    timeout(LIMIT, async {
        while TcpStream::connect(address).await.is_ok() {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the service stops accepting");
}

#[tokio::test]
async fn idle_connections_do_not_delay_a_shutdown() {
    let app = TestApp::with(&NEVER).await;
    let silent = TcpStream::connect(app.address).await.unwrap();
    let mut idle = TcpStream::connect(app.address).await.unwrap();
    idle.write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(read_some(&mut idle).await.starts_with("HTTP/1.1 200"));
    timeout(LIMIT, app.stop()).await.expect("neither of them is waited for");
    for mut stream in [silent, idle] {
        assert_eq!(read_to_end(&mut stream).await, "");
    }
}

#[tokio::test]
async fn requests_in_socket_buffers_are_answered() {
    let app = TestApp::with(&NEVER).await;
    // A client that blocks this thread also blocks the service on it, so that its requests wait in socket buffers.
    // One connection has been used before, as a proxy would.
    let mut used = TcpStream::connect(app.address).await.unwrap();
    let ask = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n";
    used.write_all(ask).await.unwrap();
    read_some(&mut used).await;
    let mut used = used.into_std().unwrap();
    used.write_all(ask).unwrap();
    let mut clients = vec![used];
    for _ in 0..50 {
        let mut client = std::net::TcpStream::connect(app.address).unwrap();
        client.write_all(ask).unwrap();
        client.set_nonblocking(true).unwrap();
        clients.push(client);
    }
    timeout(LIMIT, app.stop()).await.expect("the service stops");
    for client in clients {
        let answer = read_to_end(&mut TcpStream::from_std(client).unwrap()).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "{answer}");
    }
}

#[tokio::test]
async fn requests_that_arrived_while_the_process_was_blocked_are_answered() {
    let app = TestApp::with(&NEVER).await;
    let ask = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = TcpStream::connect(app.address).await.unwrap();
        client.write_all(ask).await.unwrap();
        read_some(&mut client).await;
        clients.push(client.into_std().unwrap());
    }
    app.ask_to_stop();
    while std::net::TcpStream::connect(app.address).is_ok() {
        tokio::task::yield_now().await;
    }
    for client in &mut clients {
        client.write_all(ask).unwrap();
    }
    // Blocks the service, on the same thread, for longer than idle connections are kept.
    std::thread::sleep(Duration::from_millis(200));
    for client in clients {
        let answer = read_to_end(&mut TcpStream::from_std(client).unwrap()).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "{answer}");
    }
}

#[tokio::test]
async fn a_request_in_transfer_is_answered_despite_further_signals() {
    let database = TestDatabase::new().await;
    let mut service = service(&database, &[]);
    let mut stream = begin_body(&service.address).await;
    service.signal("TERM");
    refused(&service.address).await;
    // A second signal aborts nothing.
    service.signal("TERM");
    service.signal("INT");
    stream.write_all(b"\"{__typename}\" }  ").await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"__typename\":\"Query\""), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    let (status, log) = service.wait();
    assert!(status.success(), "{status}: {log:#?}");
}

#[tokio::test]
async fn requests_beyond_the_shutdown_timeout_are_aborted() {
    let database = TestDatabase::new().await;
    let settings = [("READ_TIMEOUT", "600s"), ("SHUTDOWN_TIMEOUT", "100ms")];
    let mut service = service(&database, &settings);
    let mut stream = begin_body(&service.address).await;
    service.signal("TERM");
    let (status, log) = service.wait();
    assert!(status.success(), "{status}: {log:#?}");
    assert!(log.iter().any(|line| line.contains("shutdown timeout")), "{log:#?}");
    assert_eq!(read_to_end(&mut stream).await, "");
}

#[tokio::test]
async fn a_shutdown_leaves_no_database_connection() {
    let app = TestApp::start().await;
    let token = app.register("ada@example.com").await.token();
    let mut client = Client::ready(&app, json!({ "token": token })).await;
    client.subscribe("live", "subscription { todoChanged { eventId } }").await;
    app.ask_as(&token, "{ me { id } }", Value::Null).await.data("me");
    timeout(LIMIT, async {
        while !app.state.feed.is_active() {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the subscription begins");
    app.ask_to_stop();
    assert_eq!(client.closed().await.0, 1001);
    let others = "SELECT count(*)::text AS text FROM pg_stat_activity WHERE datname = current_database() \
                  AND pid <> pg_backend_pid()";
    timeout(LIMIT, async {
        while rows(&app, others).await != ["0"] {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("all connections are closed");
}
