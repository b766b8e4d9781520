//! An embedded PostgreSQL, for machines without a prepared one.
//!
//! The data directory contains the cluster (`postgres/`), the password of its one role, the server's log and, while the
//! server runs, the URL for other programs (`database-url`).

mod account;
mod binaries;
mod cluster;
mod download;
mod leftovers;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};

use self::binaries::Binaries;
use self::cluster::Cluster;
use super::DatabaseUrl;
use crate::data_dir::DataDir;

/// Time limit until the server accepts connections, including recovery from a crash.
const START_LIMIT: Duration = Duration::from_mins(2);
/// Time limit of an orderly stop, after which it is forced.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Period in which the state of a starting or stopping server is checked.
const POLL: Duration = Duration::from_millis(5);
/// Period in which a running server is checked.
const WATCH: Duration = Duration::from_millis(500);
/// Time for which a start waits for the backends of a server that was killed: a busy one exits after its statement.
const ORPHANS_LIMIT: Duration = Duration::from_secs(20);
/// Attempts with another port if another program took the free one meanwhile.
const PORT_TRIES: u32 = 3;

/// A running server, stopped when dropped.
pub struct EmbeddedPostgres {
    server: Mutex<Child>,
    cluster: Cluster,
    binaries: Binaries,
    url: DatabaseUrl,
    // Held while the server runs; the system frees it when the process dies.
    _lock: File,
}

impl EmbeddedPostgres {
    /// Starts the server on the data directory, after creating its cluster on the first start.
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
        leftovers::clear(cluster.path())?;
        let began = Instant::now();
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
                    let is_port_taken = cluster.log_mentions("could not bind") && attempt < PORT_TRIES;
                    // Backends of a killed server keep its shared memory until they notice its death.
                    let has_orphans = cluster.log_mentions("pre-existing shared memory block")
                        && began.elapsed() < ORPHANS_LIMIT;
                    if !is_port_taken && !has_orphans {
                        return Err(error);
                    }
                    attempt += 1;
                }
            }
        }
    }

    /// Returns the server's URL.
    pub fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// Returns once the server has ended without being stopped.
    pub async fn wait_for_exit(&self) {
        let ended = || {
            let mut server = self.server.lock();
            !matches!(server.try_wait(), Ok(None))
        };
        while !ended() {
            tokio::time::sleep(WATCH).await;
        }
    }

    /// Returns the path of a program that comes with the server, such as `pg_dump`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.binaries.program(name)
    }
}

impl Drop for EmbeddedPostgres {
    fn drop(&mut self) {
        stop(self.server.get_mut());
        self.cluster.withdraw_url();
    }
}

/// Locks the directory, or fails if another process uses it.
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

/// Stops a server in an orderly way (SIGINT: PostgreSQL's fast shutdown), and by force if that takes too long.
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
