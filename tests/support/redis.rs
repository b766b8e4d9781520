use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use redis::{Client, Cmd, FromRedisValue};
use tempfile::TempDir;

static NUMBER: AtomicU16 = AtomicU16::new(0);

/// A Redis for one test, killed when dropped.
pub(crate) struct RedisServer {
    pub(crate) port: u16,
    flags: Vec<String>,
    dir: TempDir,
    process: Child,
}

impl RedisServer {
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// Starts with flags, such as `--requirepass secret`.
    pub(crate) async fn with(flags: &[&str]) -> Self {
        install();
        let flags: Vec<_> = flags.iter().map(ToString::to_string).collect();
        loop {
            let dir = TempDir::new().unwrap();
            let port = free_port();
            let process = spawn(dir.path(), port, &flags);
            let mut server = Self { port, flags: flags.clone(), dir, process };
            // Another process may have taken the port meanwhile.
            if server.is_up().await {
                return server;
            }
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Returns the flag that makes the service use it.
    pub(crate) fn flag(&self) -> String {
        format!("--redis-url={}", self.url())
    }

    /// Runs a command.
    pub(crate) async fn run<T: FromRedisValue>(&self, command: &[&str]) -> T {
        let client = Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut words = Cmd::new();
        for word in command {
            words.arg(word);
        }
        words.query_async(&mut connection).await.unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        let signal =
            Command::new("kill").args([&format!("-{name}"), &self.process.id().to_string()]).status();
        assert!(signal.unwrap().success());
    }

    /// Kills it without warning.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Restarts it on the same port, empty.
    pub(crate) async fn start_again(&mut self) {
        self.process = spawn(self.dir.path(), self.port, &self.flags);
        assert!(self.is_up().await, "something else has port {}", self.port);
    }

    /// Waits until it accepts connections; returns false if it has exited instead.
    async fn is_up(&mut self) -> bool {
        while self.process.try_wait().unwrap().is_none() {
            if std::fs::read_to_string(self.dir.path().join("log")).unwrap().contains("Ready to accept") {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        false
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(dir: &Path, port: u16, flags: &[String]) -> Child {
    std::fs::write(dir.join("log"), "").unwrap();
    Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"])
        .args(["--logfile", "log", "--dir"])
        .arg(dir)
        .args(flags)
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Chooses a port below the ephemeral range, so that it is still free at a restart.
fn free_port() -> u16 {
    let process = u16::try_from(std::process::id() % 400).unwrap() * 30;
    loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed).wrapping_add(process);
        let port = 20_000 + number % 12_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Installs Redis unless it is there.
fn install() {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/.ci/redis");
        let output = Command::new(script).output().unwrap();
        assert!(
            output.status.success(),
            "redis-server is needed (Debian: apt-get install redis-server): {}",
            String::from_utf8_lossy(&output.stderr)
        );
    });
}
