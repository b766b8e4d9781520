//! Output of commands, and logs, that can't be written.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::timeout;

use crate::support::{SECRET, Service, TestDatabase};

/// Commands that write to standard output.
fn commands(database: &TestDatabase) -> Vec<Command> {
    let all = [
        &["schema"][..],
        &["--help"],
        &["--version"],
        &["user", "--help"],
        &["keys", "generate"],
        &["migrate", "status"],
        &["migrate", "run"],
        &["user", "list"],
        &["user", "list", "--json"],
        &["doctor"],
        &["doctor", "--json"],
    ];
    let command = |arguments: &&[&str]| {
        let mut command = Service::command();
        command.env("DATABASE_URL", &database.url).args(*arguments);
        command
    };
    all.iter().map(command).collect()
}

#[tokio::test]
async fn output_that_can_not_be_written_is_an_error() {
    let database = TestDatabase::new().await;
    for mut command in commands(&database) {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{command:?}");
        assert!(message.contains("cannot write to standard output: No space left"), "{command:?}: {message}");
    }
}

#[tokio::test]
async fn a_closed_pipe_is_not_an_error() {
    let database = TestDatabase::new().await;
    for mut command in commands(&database) {
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(process.stdout.take());
        let output = process.wait_with_output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(!message.contains("error"), "{command:?}: {message}");
        // That of the doctor is its finding.
        assert!(output.status.success() || format!("{command:?}").contains("doctor"), "{command:?}");
    }
}

#[test]
fn the_beginning_of_the_output_can_be_read_alone() {
    let mut process = Service::command().arg("schema").stdout(Stdio::piped()).spawn().unwrap();
    let mut beginning = [0; 10];
    process.stdout.take().unwrap().read_exact(&mut beginning).unwrap();
    assert!(process.wait().unwrap().success());
}

/// Starts the service by a shell script, on a port that is known without its log.
fn start(database: &TestDatabase, script: &str, stderr: Stdio) -> (Child, String) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(Service::command().get_program()).env_clear().current_dir("/");
    command.env("DATABASE_URL", &database.url).env("JWT_SECRET", SECRET).env("RUST_LOG", "debug");
    let process = command.env("PORT", port.to_string()).stderr(stderr).spawn().unwrap();
    (process, format!("http://127.0.0.1:{port}/graphql?query={{__typename}}"))
}

#[tokio::test]
async fn the_service_goes_on_without_its_log() {
    let database = TestDatabase::new().await;
    let full = File::options().write(true).open("/dev/full").unwrap();
    // A pipe that is not read. Linux's hold 64 KiB, and this one is almost full already.
    let (_reader, mut pipe) = std::io::pipe().unwrap();
    if cfg!(target_os = "linux") {
        pipe.write_all(&vec![b'\n'; 60 << 10]).unwrap();
    }
    for (script, stderr) in
        [("exec \"$0\"", full.into()), ("exec \"$0\" 2>&-", Stdio::inherit()), ("exec \"$0\"", pipe.into())]
    {
        let (mut process, url) = start(&database, script, stderr);
        let limit = Duration::from_mins(1);
        let ask = async || timeout(limit, reqwest::get(&url)).await.expect("an answer");
        timeout(limit, async {
            while !ask().await.is_ok_and(|answer| answer.status().is_success()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("{script}: not served"));
        // More lines than the rest of the pipe holds.
        for _ in 0..50 {
            assert!(ask().await.unwrap().status().is_success(), "{script}");
        }
        assert!(Command::new("kill").arg(process.id().to_string()).status().unwrap().success());
        assert!(process.wait().unwrap().success(), "{script}");
    }
}
