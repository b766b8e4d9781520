//! Timeout of `todo-api health`.

use crate::support::Service;

#[test]
fn a_service_that_does_not_answer_within_3_seconds_is_unhealthy() {
    // Accepts connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut command = Service::command();
    command.env("HOST", "127.0.0.1").env("PORT", port.to_string()).env("APP_ENV", "production");
    let output = Service::run(command.arg("health"));
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("no response within 3s"), "{message}");
}
