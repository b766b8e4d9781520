use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

const LIMIT: Duration = Duration::from_mins(1);

/// The real binary, serving.
pub(crate) struct Service {
    process: Child,
    pub(crate) address: String,
    log: mpsc::Receiver<String>,
}

impl Service {
    /// Creates a command with a clean environment.
    pub(crate) fn command() -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_todo-api"));
        command.env_clear().current_dir("/").env("PORT", "0");
        for name in ["PATH", "HOME", "POSTGRES_BIN_DIR"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
    }

    /// Starts on a data directory and waits until it is ready.
    pub(crate) fn start(data_dir: &Path) -> Self {
        Self::start_command(Self::command().env("TODO_DATA_DIR", data_dir))
    }

    pub(crate) fn start_command(command: &mut Command) -> Self {
        Self::start_until(command, "is ready: http://")
    }

    /// Starts and waits until it listens, perhaps before it is ready.
    pub(crate) fn start_listening(command: &mut Command) -> Self {
        Self::start_until(command, "listening on ")
    }

    fn start_until(command: &mut Command, milestone: &str) -> Self {
        let mut process = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let (sender, log) = mpsc::channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut seen = Vec::new();
        while let Ok(line) = log.recv_timeout(LIMIT) {
            if let Some((_, rest)) = line.split_once(milestone) {
                let address = rest.split(['/', ',']).next().unwrap().to_owned();
                return Self { process, address, log };
            }
            seen.push(line);
        }
        let status = process.wait();
        panic!("no {milestone}: {status:?}\n{}", seen.join("\n"));
    }

    /// Runs a command to its end.
    pub(crate) fn run(command: &mut Command) -> Output {
        command.output().unwrap()
    }

    pub(crate) async fn ask(&self, query: &str) -> serde_json::Value {
        let request = reqwest::Client::new().post(format!("http://{}/graphql", self.address));
        let body = serde_json::json!({ "query": query });
        request.json(&body).send().await.unwrap().json().await.unwrap()
    }

    /// Returns the identifier of the process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let signal =
            Command::new("kill").args([&format!("-{name}"), &self.process.id().to_string()]).status();
        assert!(signal.unwrap().success());
    }

    /// Waits for a line of the log that contains a text.
    pub(crate) fn wait_for_line(&self, text: &str) -> String {
        loop {
            let line = self.next_line();
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Waits for the next line of the log.
    pub(crate) fn next_line(&self) -> String {
        self.log.recv_timeout(LIMIT).unwrap()
    }

    /// Closes the reading end of the log.
    pub(crate) fn close_log(&mut self) {
        self.log = mpsc::channel().1;
    }

    /// Waits for the end of the process; returns its status and the rest of its log.
    pub(crate) fn wait(&mut self) -> (std::process::ExitStatus, Vec<String>) {
        let status = self.process.wait().unwrap();
        (status, self.log.iter().collect())
    }

    /// Stops it by SIGTERM and asserts success.
    pub(crate) fn stop(mut self) {
        self.signal("TERM");
        let (status, log) = self.wait();
        assert!(status.success(), "{status}: {log:#?}");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if self.process.try_wait().is_ok_and(|status| status.is_none()) {
            self.signal("TERM");
            let _ = self.process.wait();
        }
    }
}
