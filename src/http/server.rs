use std::future::IntoFuture;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::router::router;
use crate::config::HttpSettings;
use crate::state::AppState;

/// Serves until `shutdown`, then finishes what it has begun within the limit of the settings.
pub async fn serve(
    listener: TcpListener,
    state: AppState,
    settings: &HttpSettings,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let operations = TaskTracker::new();
    let router = router(state.clone(), settings, operations.clone());
    let signal = shutdown.clone();
    let server =
        axum::serve(listener, router).with_graceful_shutdown(async move { signal.requested().await });
    let mut server = std::pin::pin!(server.into_future());
    tokio::select! {
        ended = &mut server => ended.context("the server stopped")?,
        () = shutdown.requested() => {
            tracing::info!("stopping: no new connections, finishing what has begun");
            let finished = timeout(settings.shutdown_timeout, async {
                let _ = server.await;
                operations.close();
                operations.wait().await;
            });
            if finished.await.is_err() {
                tracing::warn!("stopped before everything was finished");
            }
        }
    }
    state.database.close();
    Ok(())
}

/// The wish to stop, shared by all who wait for it.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// A wish that comes true when the returned function is called.
    pub fn manual() -> (impl Fn() + Send + Sync, Self) {
        let (sender, receiver) = watch::channel(false);
        (
            move || {
                sender.send_replace(true);
            },
            Self(receiver),
        )
    }

    /// A wish that comes true on Ctrl-C, SIGTERM or the loss of the terminal. From now on these do not end
    /// the process by themselves.
    pub fn on_signal() -> anyhow::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let (request, shutdown) = Self::manual();
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            request();
        });
        Ok(shutdown)
    }

    /// Returns once somebody wishes to stop.
    pub async fn requested(&self) {
        // An error means that nobody is left to wish: then nobody ever will.
        if self.0.clone().wait_for(|requested| *requested).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
