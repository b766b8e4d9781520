use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::Config;
use tokio_postgres::config::Host;

use super::session::socket_in;

/// The message SSLRequest: its length and its code
/// (<https://www.postgresql.org/docs/current/protocol-message-formats.html>).
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Returns true if one of the hosts answers, without a login: Neon's proxy, PgBouncer and PostgreSQL tell any client
/// whether they speak TLS, and a suspended database stays suspended.
pub(super) async fn knock(config: &Config) -> bool {
    let ports = config.get_ports();
    let port = |n: usize| ports.get(n).or(ports.first()).copied().unwrap_or(5432);
    for (n, host) in config.get_hosts().iter().enumerate() {
        let answered = match (host, config.get_hostaddrs().get(n)) {
            (Host::Unix(dir), _) => request_ssl(UnixStream::connect(socket_in(dir, port(n)))).await,
            (_, Some(address)) => request_ssl(TcpStream::connect((*address, port(n)))).await,
            (Host::Tcp(name), None) => request_ssl(TcpStream::connect((name.as_str(), port(n)))).await,
        };
        if answered.is_ok() {
            return true;
        }
    }
    false
}

async fn request_ssl<S: AsyncRead + AsyncWrite + Unpin>(
    connect: impl Future<Output = io::Result<S>>,
) -> io::Result<u8> {
    let mut stream = connect.await?;
    stream.write_all(&SSL_REQUEST).await?;
    stream.read_u8().await
}
