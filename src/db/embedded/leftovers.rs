//! Clears the leftovers of a crash: a `postmaster.pid`, and perhaps the server itself.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, test_kill_process};

use super::{POLL, STOP_LIMIT, signal_to};

/// Stops a server that outlived its service, and removes the file of one that did not.
///
/// Called under the lock on the data directory, so that no service uses the server any more. PostgreSQL by itself refuses
/// to start as long as any process has the number in the file, which after a reboot is often an unrelated one's.
pub(super) fn clear(cluster: &Path) -> anyhow::Result<()> {
    let file = cluster.join("postmaster.pid");
    let Ok(text) = fs::read_to_string(&file) else {
        return Ok(());
    };
    let number = text.lines().next().and_then(|line| line.trim().parse::<i32>().ok());
    if let Some(pid) = number.and_then(Pid::from_raw).filter(|pid| serves(*pid, cluster)) {
        tracing::warn!("stopping the PostgreSQL that a crash left running");
        signal_to(pid.as_raw_nonzero().get().unsigned_abs(), Signal::INT);
        let began = Instant::now();
        while test_kill_process(pid).is_ok() {
            if began.elapsed() > STOP_LIMIT {
                bail!("the PostgreSQL that a crash left running (process {number:?}) does not stop");
            }
            std::thread::sleep(POLL);
        }
    }
    match fs::remove_file(&file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{} can't be removed", file.display()))
        }
        _ => Ok(()),
    }
}

/// True if a process is a server on this cluster: a server works in its cluster's directory.
#[cfg(target_os = "linux")]
fn serves(pid: Pid, cluster: &Path) -> bool {
    fs::read_link(format!("/proc/{}/cwd", pid.as_raw_nonzero())).is_ok_and(|directory| directory == cluster)
}

/// True if a process is a server on any cluster: only its name can be found out on these systems.
#[cfg(not(target_os = "linux"))]
fn serves(pid: Pid, _: &Path) -> bool {
    let output = std::process::Command::new("ps")
        .args(["-o", "comm=", "-p", &pid.as_raw_nonzero().to_string()])
        .output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim().ends_with("postgres"))
}
