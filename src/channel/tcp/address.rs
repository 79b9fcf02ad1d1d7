//! The addresses in the options of the channel.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Where a node accepts connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen(SocketAddr);

impl Listen {
    /// Reads `127.0.0.1:7400`, `[::]:7400`, `localhost:7400`, or `:7400` for every interface. Port 0 is any free one.
    pub fn parse(text: &str) -> Option<Self> {
        let given = text.parse::<SocketAddr>().ok();
        let port = || text.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        let ip = match text.rsplit_once(':')?.0 {
            "" => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            _ => None,
        };
        given.or_else(|| Some(SocketAddr::new(ip?, port()?))).map(Self)
    }

    pub(super) fn address(self) -> SocketAddr {
        self.0
    }
}

/// Why others could not connect to this address, as the rest of a sentence that begins with its name.
pub fn check_address(text: &str) -> Result<(), &'static str> {
    const SHAPE: &str = "must be \"host:port\"";
    let Some((host, port)) = text.rsplit_once(':') else { return Err(SHAPE) };
    let is_address = text.parse::<SocketAddr>().is_ok();
    let is_name = !host.is_empty() && !host.contains([':', '/', '@', '[', ']', ' ']);
    if !(is_address || is_name) {
        return Err(SHAPE);
    }
    match port.parse::<u16>() {
        Ok(1..) => Ok(()),
        _ => Err("must end with a port from 1 to 65535"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_listens_on_an_address_of_this_machine() {
        let listen = |text| Listen::parse(text).map(|listen| listen.0.to_string());
        for (text, address) in [
            ("127.0.0.1:7400", "127.0.0.1:7400"),
            ("[::]:7400", "[::]:7400"),
            (":7400", "0.0.0.0:7400"),
            ("localhost:0", "127.0.0.1:0"),
        ] {
            assert_eq!(listen(text).as_deref(), Some(address));
        }
        for text in ["", "7400", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "example.com:7400", "::1:7400"]
        {
            assert_eq!(listen(text), None, "{text}");
        }
    }

    #[test]
    fn a_peer_is_a_host_and_a_port() {
        for text in ["10.0.0.1:7400", "[fe80::1]:7400", "db-0.db:7400", "localhost:1"] {
            assert_eq!(check_address(text), Ok(()), "{text}");
        }
        for text in ["", "host", "host:", "host:0", "host:65536", ":7400", "::1:7400", "redis://host:7400"] {
            assert!(check_address(text).is_err(), "{text}");
        }
    }
}
