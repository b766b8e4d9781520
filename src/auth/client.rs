use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;

/// Sender of a request, as recorded with sessions and security events.
#[derive(Clone, Debug, Default)]
pub struct Client {
    /// Address of the client; `None` for an operator at the command line.
    address: Option<IpAddr>,
    /// Value of its `User-Agent` header.
    user_agent: Option<String>,
    /// Identifier of the request.
    request_id: Option<Arc<str>>,
}

impl Client {
    /// Longest stored user agent, in characters.
    const MAX_USER_AGENT: usize = 512;

    /// Creates the client of a request over the network.
    pub fn remote(address: IpAddr, user_agent: Option<&str>, request_id: Arc<str>) -> Self {
        let user_agent = user_agent.map(|text| {
            text.chars().filter(|c| !c.is_control()).take(Self::MAX_USER_AGENT).collect::<String>()
        });
        Self {
            address: Some(address.to_canonical()),
            user_agent: user_agent.filter(|text| !text.trim().is_empty()),
            request_id: Some(request_id),
        }
    }

    /// Creates the client that stands for an operator at the command line.
    pub fn operator() -> Self {
        Self { user_agent: Some("todo-api, by an operator".into()), ..Self::default() }
    }

    /// Returns the address as PostgreSQL's `inet` stores it.
    pub fn address(&self) -> Option<IpNet> {
        self.address.map(IpNet::from)
    }

    /// Returns the user agent without control characters, cut to 512 characters.
    pub fn user_agent(&self) -> Option<&str> {
        self.user_agent.as_deref()
    }

    /// Returns the identifier of the request.
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// Returns the unit that rate limits count: an IPv4 address, or the /64 of an IPv6 address, as one customer has at least
    /// that many (RFC 6177).
    pub(super) fn network(&self) -> Option<IpAddr> {
        self.address.map(|address| match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> Client {
        Client::remote(address.parse().unwrap(), None, "".into())
    }

    #[test]
    fn addresses_of_one_64_count_as_one() {
        assert_eq!(at("2001:db8:1:2:3:4:5:6").network(), at("2001:db8:1:2:ffff::").network());
        assert_ne!(at("2001:db8:1:2::1").network(), at("2001:db8:1:3::1").network());
        assert_eq!(at("::ffff:192.0.2.1").network(), at("192.0.2.1").network());
        assert_ne!(at("192.0.2.1").network(), at("192.0.2.2").network());
    }

    #[test]
    fn what_a_client_says_it_is_is_plain_and_short() {
        let long = format!("a\u{0}\n{}", "é".repeat(1000));
        let client = Client::remote(IpAddr::from([192, 0, 2, 1]), Some(&long), "".into());
        assert_eq!(client.user_agent().map(|text| text.chars().count()), Some(512));
        assert!(client.user_agent().is_some_and(|text| text.starts_with("aé")));
    }
}
