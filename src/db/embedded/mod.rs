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

use anyhow::{Context, bail, ensure};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio_util::sync::CancellationToken;

use self::binaries::Binaries;
use self::cluster::Cluster;
use super::{Connector, DatabaseUrl, Error};
use crate::data_dir::DataDir;

/// Time limit until the server accepts connections, including recovery from a crash.
const START_LIMIT: Duration = Duration::from_mins(2);
/// Time limit of an orderly stop, after which it is forced.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Time limit of the orderly stop after a cancelled start. Together with [`FORCE_LIMIT`] less than the time for which the
/// process waits at its end.
const CANCEL_LIMIT: Duration = Duration::from_secs(5);
/// Time limit of an immediate stop, after which the process is killed.
const FORCE_LIMIT: Duration = Duration::from_secs(4);
/// Time limit of the first login.
const LOGIN_LIMIT: Duration = Duration::from_secs(5);
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
    server: Mutex<Postmaster>,
    cluster: Cluster,
    binaries: Binaries,
    url: DatabaseUrl,
    // Held while the server runs; the system frees it when the process dies.
    lock: File,
}

impl EmbeddedPostgres {
    /// Starts the server on the data directory, after creating its cluster on the first start.
    pub async fn start(data_dir: DataDir, bin_dir: Option<&Path>) -> anyhow::Result<Self> {
        let lock = lock(&data_dir)?;
        let binaries = match Binaries::find(bin_dir, cluster::version_of(&data_dir)?)? {
            Some(binaries) => binaries,
            None => download::fetch().await?,
        };
        // Cancelled when this future is dropped. The thread then stops what it has started, and the end of the process
        // waits for it.
        let cancelled = CancellationToken::new();
        let _guard = cancelled.clone().drop_guard();
        let start = move || Self::start_blocking(&data_dir, binaries, lock, &cancelled);
        let started = tokio::task::spawn_blocking(start).await??;
        if started.refuses_password().await {
            let error = started.cluster.wrong_password();
            // Waits until the server has stopped, which would block an async thread.
            tokio::task::spawn_blocking(move || drop(started)).await?;
            return Err(error);
        }
        Ok(started)
    }

    fn start_blocking(
        data_dir: &DataDir,
        binaries: Binaries,
        lock: File,
        cancelled: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let cluster = Cluster::open(data_dir, &binaries, cancelled)?;
        leftovers::clear(cluster.path())?;
        let began = Instant::now();
        let mut attempt = 1;
        loop {
            let port = free_port()?;
            let mut server = Postmaster(cluster.spawn(&binaries, port)?);
            match wait_until_ready(&mut server, &cluster, cancelled) {
                Ok(()) => {
                    let url = cluster.publish_url(port)?;
                    tracing::info!("PostgreSQL {} serves {}", binaries.version(), cluster.path().display());
                    return Ok(Self { server: Mutex::new(server), cluster, binaries, url, lock });
                }
                Err(error) if cancelled.is_cancelled() => {
                    server.stop(CANCEL_LIMIT);
                    return Err(error);
                }
                Err(error) => {
                    server.stop(STOP_LIMIT);
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

    /// True if the server, which has just started, is reached and refuses the stored password.
    async fn refuses_password(&self) -> bool {
        let Ok(connector) = Connector::new(&self.url, LOGIN_LIMIT) else { return false };
        let refused = |error: Error| error.reason().contains("password authentication failed");
        connector.connect().await.err().is_some_and(refused)
    }

    /// Returns the server's URL.
    pub fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// Returns once the server has ended without being stopped.
    pub async fn wait_for_exit(&self) {
        let ended = || {
            let mut server = self.server.lock();
            !server.runs()
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
        self.server.get_mut().stop(STOP_LIMIT);
        self.cluster.withdraw_url();
        // Closing the file is not enough while a child between fork and exec has a copy of its descriptor.
        let _ = self.lock.unlock();
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

fn wait_until_ready(
    server: &mut Postmaster,
    cluster: &Cluster,
    cancelled: &CancellationToken,
) -> anyhow::Result<()> {
    let began = Instant::now();
    while !cluster.is_ready() {
        ensure!(!cancelled.is_cancelled(), "interrupted");
        if let Some(status) = server.0.try_wait()? {
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

/// The server's first process, stopped when dropped.
struct Postmaster(Child);

impl Postmaster {
    fn runs(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    /// Stops the server in an orderly way (SIGINT: PostgreSQL's fast shutdown), and by force if that takes too long.
    fn stop(&mut self, limit: Duration) {
        for (signal, limit) in [(Signal::INT, limit), (Signal::QUIT, FORCE_LIMIT)] {
            // The number of a process that has ended may be another one's by now.
            if !self.runs() {
                return;
            }
            signal_to(self.0.id(), signal);
            let began = Instant::now();
            while began.elapsed() < limit && self.runs() {
                std::thread::sleep(POLL);
            }
        }
        if self.runs() {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

impl Drop for Postmaster {
    fn drop(&mut self) {
        self.stop(STOP_LIMIT);
    }
}

fn terminate_group(leader: &Child) {
    if let Some(pid) = i32::try_from(leader.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(pid, Signal::TERM);
    }
}

fn signal_to(process: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(process).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}
