//! `todo-api health`, called as by a container's health check.

use std::process::Output;

use crate::support::{Service, TestApp, TestDatabase};

/// Runs the check against an address, with no other setting.
fn health(host: &str, port: u16, arguments: &[&str]) -> Output {
    let mut command = Service::command();
    command.env("HOST", host).env("PORT", port.to_string()).env("APP_ENV", "production");
    Service::run(command.arg("health").args(arguments))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_answers_is_healthy_on_any_listen_address() {
    let app = TestApp::start().await;
    for host in ["127.0.0.1", "0.0.0.0", "localhost"] {
        let output = health(host, app.address.port(), &[]);
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"live\n"[..]), "{host}");
    }
    let output = health("127.0.0.1", app.address.port(), &["--ready"]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"ready\n"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_its_database_is_alive_and_not_ready() {
    // Reserves a port without listening on it.
    let deaf = tokio::net::TcpSocket::new_v4().unwrap();
    deaf.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("postgresql://nobody@{}/nothing", deaf.local_addr().unwrap());
    let app = TestApp::on(&url, &[], TestDatabase::new().await).await;
    assert!(health("127.0.0.1", app.address.port(), &[]).status.success());
    let output = health("127.0.0.1", app.address.port(), &["--ready"]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("/health/ready responded with 503"), "{message}");
}

#[test]
fn a_service_that_does_not_listen_is_unhealthy() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    assert_eq!(health("127.0.0.1", port, &[]).status.code(), Some(1));
    assert_eq!(health("127.0.0.1", 0, &[]).status.code(), Some(1));
}
