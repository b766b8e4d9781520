use tokio::sync::watch;

/// The wish to stop, shared by all who wait for it.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// A wish that comes true when the returned function is called.
    pub fn manual() -> (impl Fn() + Send + Sync, Self) {
        let (sender, receiver) = watch::channel(false);
        let request = move || {
            sender.send_replace(true);
        };
        (request, Self(receiver))
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

    /// Whether somebody wishes to stop.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once somebody wishes to stop.
    pub async fn requested(&self) {
        // An error means that nobody is left to wish: then nobody ever will.
        if self.0.clone().wait_for(|requested| *requested).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
