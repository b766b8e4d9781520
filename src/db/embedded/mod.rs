//! A PostgreSQL of the service's own, for machines that have none prepared.
//!
//! The data directory holds the cluster (`postgres/`), the password of its one role, the server's log and, while
//! it runs, the URL for other programs (`database-url`).

mod account;
mod binaries;
mod cluster;
mod download;
mod stale;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

use self::binaries::Binaries;
use self::cluster::Cluster;
use super::DatabaseUrl;
use crate::data_dir::DataDir;

/// How long the server may take until it accepts connections, recovery from a crash included.
const START_LIMIT: Duration = Duration::from_mins(2);
/// How long an orderly stop may take before it is forced.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// How often the state of a starting or stopping server is looked at.
const POLL: Duration = Duration::from_millis(5);
/// How often it is looked whether the server still runs.
const WATCH: Duration = Duration::from_millis(500);
/// How often another port is tried when somebody else took the one that was free.
const PORT_TRIES: u32 = 3;

/// A running server, stopped when dropped.
pub struct EmbeddedPostgres {
    server: Mutex<Child>,
    cluster: Cluster,
    binaries: Binaries,
    url: DatabaseUrl,
    // Held for as long as the server runs; the system frees it when the process dies.
    _lock: File,
}

impl EmbeddedPostgres {
    /// Starts the server on the data directory, making its cluster on the first start.
    pub async fn start(data_dir: DataDir, bin_dir: Option<&Path>) -> anyhow::Result<Self> {
        let lock = lock(&data_dir)?;
        let binaries = match Binaries::find(bin_dir, cluster::version_of(&data_dir)?)? {
            Some(binaries) => binaries,
            None => download::fetch().await?,
        };
        tokio::task::spawn_blocking(move || Self::start_blocking(&data_dir, binaries, lock)).await?
    }

    fn start_blocking(data_dir: &DataDir, binaries: Binaries, lock: File) -> anyhow::Result<Self> {
        let cluster = Cluster::open(data_dir, &binaries)?;
        stale::clear(cluster.path())?;
        let mut attempt = 1;
        loop {
            let port = free_port()?;
            let mut server = cluster.spawn(&binaries, port)?;
            match wait_until_ready(&mut server, &cluster) {
                Ok(()) => {
                    let url = cluster.publish_url(port)?;
                    tracing::info!("PostgreSQL {} serves {}", binaries.version(), cluster.path().display());
                    return Ok(Self { server: Mutex::new(server), cluster, binaries, url, _lock: lock });
                }
                Err(error) => {
                    stop(&mut server);
                    if attempt == PORT_TRIES || !cluster.log_mentions("could not bind") {
                        return Err(error);
                    }
                    attempt += 1;
                }
            }
        }
    }

    /// How to reach the server.
    pub fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// Returns when the server has ended without being told to.
    pub async fn died(&self) {
        let ended = || {
            let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
            !matches!(server.try_wait(), Ok(None))
        };
        while !ended() {
            tokio::time::sleep(WATCH).await;
        }
    }

    /// Where a program that comes with the server is, such as `pg_dump`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.binaries.program(name)
    }
}

impl Drop for EmbeddedPostgres {
    fn drop(&mut self) {
        stop(self.server.get_mut().unwrap_or_else(PoisonError::into_inner));
        self.cluster.withdraw_url();
    }
}

/// Makes sure that no other process works on this directory.
fn lock(data_dir: &DataDir) -> anyhow::Result<File> {
    let path = data_dir.path().join("lock");
    let file = File::create(&path).with_context(|| format!("{} can't be written", path.display()))?;
    if file.try_lock().is_err() {
        bail!(
            "another todo-api is using {}; stop it, or choose another directory with TODO_DATA_DIR",
            data_dir.path().display(),
        );
    }
    Ok(file)
}

fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn wait_until_ready(server: &mut Child, cluster: &Cluster) -> anyhow::Result<()> {
    let began = Instant::now();
    while !cluster.is_ready() {
        if let Some(status) = server.try_wait()? {
            bail!("PostgreSQL did not start ({status}); the end of its log:\n{}", cluster.end_of_log());
        }
        if began.elapsed() > START_LIMIT {
            bail!(
                "PostgreSQL is not ready after {START_LIMIT:?}; the end of its log:\n{}",
                cluster.end_of_log()
            );
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// Stops a server in order (SIGINT: PostgreSQL's fast shutdown), and by force if that takes too long.
fn stop(server: &mut Child) {
    for (signal, limit) in [(Signal::INT, STOP_LIMIT), (Signal::QUIT, Duration::from_secs(5))] {
        signal_to(server.id(), signal);
        let began = Instant::now();
        while began.elapsed() < limit {
            match server.try_wait() {
                Ok(None) => std::thread::sleep(POLL),
                _ => return,
            }
        }
    }
    let _ = server.kill();
    let _ = server.wait();
}

fn signal_to(process: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(process).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}
