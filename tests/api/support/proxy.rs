use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// Passes connections on to a port of this machine that can change, as a server does that restarts.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    target: Arc<AtomicU16>,
    freeze: watch::Sender<()>,
    _task: AbortOnDropHandle<()>,
}

impl Proxy {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = Arc::new(AtomicU16::new(port));
        let current = Arc::clone(&target);
        let (freeze, frozen) = watch::channel(());
        let task = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let port = current.load(Ordering::SeqCst);
                let mut frozen = frozen.clone();
                frozen.mark_unchanged();
                tokio::spawn(async move {
                    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        // Open on both sides, and silent.
                        Ok(()) = frozen.changed() => std::future::pending().await,
                    }
                });
            }
        });
        Self { address, target, freeze, _task: AbortOnDropHandle::new(task) }
    }

    /// Where connections lead from now on.
    pub(crate) fn retarget(&self, port: u16) {
        self.target.store(port, Ordering::SeqCst);
    }

    /// Lets nothing through any more on the connections that there are, without closing them; new ones work.
    pub(crate) fn freeze(&self) {
        self.freeze.send_replace(());
    }
}
