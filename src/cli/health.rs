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

/// Time limit for the response.
const LIMIT: Duration = Duration::from_secs(3);

/// Checks the service on this machine, for images of containers that contain no other HTTP client.
pub(super) async fn health(settings: &HttpSettings, ready: bool) -> anyhow::Result<()> {
    ensure!(settings.port != 0, "PORT must be the port that the service listens on, not 0");
    let address = SocketAddr::new(reachable(settings.host), settings.port);
    let path = if ready { "/health/ready" } else { "/health/live" };
    let requested = timeout(LIMIT, request(address, path)).await;
    let status = requested
        .with_context(|| format!("no response within {LIMIT:?}"))
        .flatten()
        .with_context(|| format!("http://{address}{path}"))?;
    if status != StatusCode::OK {
        bail!("http://{address}{path} responded with {status}");
    }
    print(if ready { "ready\n" } else { "live\n" })
}

/// Returns the address at which a service that listens on `host` is reachable from its own machine.
fn reachable(host: IpAddr) -> IpAddr {
    match host {
        IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        host => host,
    }
}

async fn request(address: SocketAddr, path: &str) -> anyhow::Result<StatusCode> {
    let stream = TcpStream::connect(address).await?;
    let (mut requests, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path).header(header::HOST, address.to_string()).body(Body::empty())?;
    tokio::select! {
        answer = requests.send_request(request) => Ok(answer?.status()),
        ended = connection => {
            ended?;
            bail!("the service closed the connection")
        }
    }
}
