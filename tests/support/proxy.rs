use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;

/// A TCP proxy to a local port that simulates network faults.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    network: Arc<watch::Sender<Network>>,
    _task: AbortOnDropHandle<()>,
}

/// Behaviour of the network.
#[derive(Clone, Copy, Debug)]
struct Network {
    port: u16,
    delay: Duration,
    /// Holds all bytes back without closing anything.
    black_hole: bool,
    /// Time until which new connections wait.
    awake_at: Option<Instant>,
    /// Generations: connections from before an increment are closed (`cuts`), acknowledged and never answered (`freezes`), or
    /// lose all packets (`losses`).
    cuts: u64,
    freezes: u64,
    losses: u64,
}

impl Proxy {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let network = Network {
            port,
            delay: Duration::ZERO,
            black_hole: false,
            awake_at: None,
            cuts: 0,
            freezes: 0,
            losses: 0,
        };
        let network = Arc::new(watch::channel(network).0);
        let state = Arc::clone(&network);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, state.subscribe()));
            }
        });
        Self { address, network, _task: AbortOnDropHandle::new(task) }
    }

    /// Rewrites a server's URL to lead through the proxy.
    pub(crate) fn url(&self, direct: &str) -> String {
        let port = self.network.borrow().port;
        direct.replacen(&format!(":{port}/"), &format!(":{}/", self.address.port()), 1)
    }

    /// Directs new connections to another port.
    pub(crate) fn retarget(&self, port: u16) {
        self.network.send_modify(|network| network.port = port);
    }

    /// Loses all packets on the connections that there are, as a router that has forgotten them; new ones work.
    pub(crate) fn lose_packets(&self) {
        self.network.send_modify(|network| network.losses += 1);
    }

    /// Acknowledges what comes on the connections that there are and passes nothing on, as a proxy that hangs; new ones
    /// work.
    pub(crate) fn freeze(&self) {
        self.network.send_modify(|network| network.freezes += 1);
    }

    /// Closes all open connections.
    pub(crate) fn cut(&self) {
        self.network.send_modify(|network| network.cuts += 1);
    }

    /// Begins or ends a black hole: bytes are held back on all connections, and delivered afterwards.
    pub(crate) fn black_hole(&self, on: bool) {
        self.network.send_modify(|network| network.black_hole = on);
    }

    /// Delays all bytes, in each direction.
    pub(crate) fn delay(&self, delay: Duration) {
        self.network.send_modify(|network| network.delay = delay);
    }

    /// Closes all open connections and makes new ones wait, like a database that wakes up.
    pub(crate) fn sleep_for(&self, time: Duration) {
        self.network.send_modify(|network| {
            network.cuts += 1;
            network.awake_at = Some(Instant::now() + time);
        });
    }
}

async fn pass(mut client: TcpStream, mut network: watch::Receiver<Network>) {
    let Network { port, awake_at, cuts, freezes, losses, .. } = *network.borrow();
    if let Some(awake_at) = awake_at {
        sleep_until(awake_at).await;
    }
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap();
    }
    let state = network.clone();
    let mut frozen = network.clone();
    let mut lossy = network.clone();
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let silent = tokio::select! {
        () = pump(&mut from_client, &mut to_server, state.clone()) => false,
        () = pump(&mut from_server, &mut to_client, state) => false,
        _ = network.wait_for(|network| network.cuts > cuts) => false,
        _ = frozen.wait_for(|network| network.freezes > freezes) => true,
        _ = lossy.wait_for(|network| network.losses > losses) => true,
    };
    if silent {
        // Keeps both sides open.
        if lossy.borrow().losses > losses {
            for stream in [&client, &server] {
                drop_packets(stream);
            }
        }
        std::future::pending::<()>().await;
    }
}

async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    mut network: watch::Receiver<Network>,
) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let delay = network.borrow().delay;
        if !delay.is_zero() {
            sleep(delay).await;
        }
        let _ = network.wait_for(|network| !network.black_hole).await;
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

/// Has the kernel drop what arrives, unacknowledged: a packet filter that keeps nothing of any packet.
fn drop_packets(stream: &TcpStream) {
    const RETURN: u16 = 0x06;
    let keep_nothing = socket2::SockFilter::new(RETURN, 0, 0, 0);
    socket2::SockRef::from(stream).attach_filter(&[keep_nothing]).unwrap();
}
