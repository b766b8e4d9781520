use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::http::header::{HeaderName, USER_AGENT};
use axum::http::{HeaderMap, HeaderValue};
use ipnet::IpNet;

use crate::auth::Client;
use crate::graphql::RequestId;

/// Remote address of a connection: the client's, or a proxy's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Identifier of a request, and the peer that sent it.
#[derive(Clone, Debug)]
pub(crate) struct Ingress {
    pub(crate) request_id: RequestId,
    pub(crate) peer: Peer,
}

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Determines the client of a request, behind trusted proxies.
pub(super) fn client(headers: &HeaderMap, peer: Peer, trusted: &[IpNet], request_id: &RequestId) -> Client {
    let user_agent = headers.get(USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let address = address(headers, peer.0.to_canonical(), trusted);
    Client::remote(address, user_agent.as_deref(), Arc::clone(&request_id.0))
}

/// Returns the address of the client. Reads `X-Forwarded-For` right to left, skipping trusted proxies; the first untrusted
/// address is the client, and everything before it may be forged.
fn address(headers: &HeaderMap, peer: IpAddr, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    if !is_trusted(&peer) {
        return peer;
    }
    let mut client = peer;
    let lines: Vec<_> = headers.get_all(FORWARDED_FOR).iter().map(HeaderValue::as_bytes).collect();
    // Split before decoding: a client's bytes beyond ASCII must not hide what proxies appended to them.
    let hops = lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b','));
    let mut hops = hops.map(|hop| parse(std::str::from_utf8(hop).ok()?.trim()));
    while is_trusted(&client) {
        match hops.next() {
            Some(Some(hop)) => client = hop,
            _ => break,
        }
    }
    client
}

/// Parses an address; some proxies add the port.
fn parse(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let address = text.parse().ok().or_else(with_port).or_else(in_brackets);
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_trusted_proxies_say_is_believed() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
        for (peer, header, expected) in [
            ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
            ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
            ("10.0.0.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
            ("10.0.0.1", "198.51.100.7, 10.0.0.2", "198.51.100.7"),
            ("10.0.0.1", "198.51.100.7:4711,10.0.0.2:80", "198.51.100.7"),
            ("10.0.0.1", "198.51.100.7, nonsense", "10.0.0.1"),
            ("10.0.0.1", "nonsense, 198.51.100.7", "198.51.100.7"),
            ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
            ("10.0.0.1", "", "10.0.0.1"),
            ("10.0.0.1", "::ffff:198.51.100.7", "198.51.100.7"),
            ("2001:db8::1", "[2001:db9::5]:443", "2001:db9::5"),
            ("2001:db8::1", "[2001:db9::5]", "2001:db9::5"),
            ("10.0.0.1", "caf\u{e9}, 198.51.100.7", "198.51.100.7"),
            ("10.0.0.1", "198.51.100.7, caf\u{e9}", "10.0.0.1"),
        ] {
            let headers =
                HeaderMap::from_iter([(FORWARDED_FOR, HeaderValue::from_bytes(header.as_bytes()).unwrap())]);
            let found = address(&headers, peer.parse().unwrap(), &trusted);
            assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{peer}: {header}");
        }
        let mut lines = HeaderMap::new();
        lines.append(FORWARDED_FOR, "203.0.113.9".parse().unwrap());
        lines.append(FORWARDED_FOR, "198.51.100.7".parse().unwrap());
        let found = address(&lines, "10.0.0.1".parse().unwrap(), &trusted);
        assert_eq!(found, "198.51.100.7".parse::<IpAddr>().unwrap());
    }
}
