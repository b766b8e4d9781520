use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::print;
use crate::config::HttpSettings;

/// How long the answer may take.
const LIMIT: Duration = Duration::from_secs(3);

/// Asks the service on this machine how it is: for containers, whose images have no other program that could.
pub(super) async fn health(settings: &HttpSettings, ready: bool) -> anyhow::Result<()> {
    ensure!(settings.port != 0, "PORT must be the one that the service listens on, not 0");
    let address = SocketAddr::new(reachable(settings.host), settings.port);
    let path = if ready { "/health/ready" } else { "/health/live" };
    let asked = timeout(LIMIT, ask(address, path)).await;
    let status = asked
        .with_context(|| format!("no answer within {LIMIT:?}"))
        .flatten()
        .with_context(|| format!("http://{address}{path}"))?;
    if status != StatusCode::OK {
        bail!("http://{address}{path} answers {status}");
    }
    print(if ready { "ready\n" } else { "live\n" });
    Ok(())
}

/// Where a service that listens on an address can be reached on its own machine.
fn reachable(host: IpAddr) -> IpAddr {
    match host {
        IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        host => host,
    }
}

async fn ask(address: SocketAddr, path: &str) -> anyhow::Result<StatusCode> {
    let stream = TcpStream::connect(address).await?;
    let (mut requests, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path).header(header::HOST, address.to_string()).body(Body::empty())?;
    tokio::select! {
        answer = requests.send_request(request) => Ok(answer?.status()),
        ended = connection => {
            ended?;
            bail!("the connection was closed")
        }
    }
}
