use anyhow::anyhow;

use super::serve::Backend;
use super::shutdown_on_signal;
use crate::config::Config;

/// Does a command's work on the database that the service uses. A signal interrupts it; an embedded PostgreSQL that was
/// started for it is stopped in any case.
pub(super) async fn on_database<R>(
    config: &Config,
    work: impl AsyncFnOnce(&Backend) -> anyhow::Result<R>,
) -> anyhow::Result<R> {
    let shutdown = shutdown_on_signal()?;
    let interrupted = || anyhow!("interrupted");
    let backend = tokio::select! {
        backend = Backend::attach_or_open(config) => backend?,
        () = shutdown.cancelled() => return Err(interrupted()),
    };
    let result = tokio::select! {
        result = work(&backend) => result,
        () = shutdown.cancelled() => Err(interrupted()),
    };
    backend.close().await;
    result
}
