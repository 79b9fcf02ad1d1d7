//! Carries frames over TCP connections between the nodes: no server is needed.
//!
//! Joined by `driver.rs`; a [`super::mesh`] whose peers are found by addresses: those that the application gives, what
//! their names resolve to, and those that other members give.

mod address;
#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
pub(super) mod tls;

use std::{
    collections::BTreeSet,
    fmt,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream, lookup_host},
    time::timeout,
};

use super::{
    Channel, Link,
    mesh::{self, Discovered, Expiry, LinkId, Network, Settings, Stream},
    sealed::Security,
    socket::Socket,
};
use crate::raft::Incarnation;

pub use address::{Listen, check_address};
use tls::Tls;
pub use tls::{Pem, TcpTls};

/// How a node takes part in a TCP channel.
pub struct TcpOptions {
    pub channel_name: String,
    pub security: Security,
    pub listen: Listen,
    /// `host:port` at which others reach this node; `None`: the address from which it connects to them.
    pub advertise: Option<String>,
    pub peers: Peers,
    /// How long a peer may be silent.
    pub patience: Duration,
    /// `None`: frames travel as they are.
    pub tls: Option<TcpTls>,
}

/// The addresses of other nodes, or of any of them, each `host:port`.
pub enum Peers {
    List(Vec<String>),
    /// Asked again every few seconds.
    Asked(Arc<dyn AskedPeers>),
}

/// Finds the addresses anew whenever it is asked.
pub trait AskedPeers: Send + Sync {
    /// The error is a sentence.
    fn ask(&self) -> Pin<Box<dyn Future<Output = Result<Vec<String>, String>> + Send>>;
}

/// A channel over TCP.
pub struct Tcp {
    settings: Settings,
    network: Arc<TcpNetwork>,
}

impl Tcp {
    /// Connects to nothing yet. The error is a sentence about a certificate or a key.
    pub fn new(options: TcpOptions) -> Result<Self, String> {
        let TcpOptions { channel_name, security, listen, advertise, peers, patience, tls } = options;
        let tls = tls.map(Tls::new).transpose()?;
        let network = Arc::new(TcpNetwork { listen, advertise, peers, patience, tls });
        Ok(Self { settings: Settings { channel_name, security, patience }, network })
    }
}

impl Channel for Tcp {
    fn join(&self, me: Incarnation) -> Link {
        mesh::join(self.network.clone(), &self.settings, me)
    }
}

struct TcpNetwork {
    listen: Listen,
    advertise: Option<String>,
    peers: Peers,
    patience: Duration,
    tls: Option<Tls>,
}

impl TcpNetwork {
    /// Long enough for a server of names that has to ask others.
    const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

    /// Long enough for a registry on the network.
    const ASK_TIMEOUT: Duration = Duration::from_secs(10);

    /// Unsent data waits in the lanes, not in the system, where a control frame could not overtake it.
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    const UNSENT_BYTES_MAX: u32 = 128 << 10;

    fn socket(&self, stream: TcpStream) -> io::Result<Socket> {
        let socket = SockRef::from(&stream);
        #[cfg(any(target_os = "linux", target_os = "macos"))]
        socket.set_tcp_notsent_lowat(Self::UNSENT_BYTES_MAX)?;
        // Without it the system repeats data to a peer that is gone for a quarter of an hour.
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(self.patience))?;
        #[cfg(not(target_os = "linux"))]
        let _ = (socket, self.patience);
        Socket::new(stream)
    }

    async fn names(&self) -> Result<Vec<String>, String> {
        match &self.peers {
            Peers::List(names) => Ok(names.clone()),
            Peers::Asked(peers) => match timeout(Self::ASK_TIMEOUT, peers.ask()).await {
                Ok(names) => names,
                Err(_) => {
                    Err(format!("the function \"peers\" gave no answer within {:?}", Self::ASK_TIMEOUT))
                }
            },
        }
    }
}

impl Network for TcpNetwork {
    type Address = SocketAddr;
    type Listener = TcpListener;

    fn listen(&self, _: LinkId) -> Result<TcpListener, String> {
        let address = self.listen.address();
        let listen = || {
            let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
            // On Windows this would let two processes listen at once.
            #[cfg(not(windows))]
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(1_024)
        };
        listen().map_err(|error| format!("listening on {address}: {error}"))
    }

    async fn accept(&self, listener: &TcpListener) -> io::Result<Socket> {
        self.socket(listener.accept().await?.0)
    }

    async fn admit(&self, _: &TcpListener, socket: Socket) -> io::Result<Stream> {
        match &self.tls {
            Some(tls) => tls.accept(socket).await,
            None => Ok(socket.into()),
        }
    }

    fn address(&self, listener: &TcpListener, socket: &Socket) -> Option<String> {
        if let Some(address) = &self.advertise {
            return Some(address.clone());
        }
        let ip = socket.tcp_stream()?.local_addr().ok()?.ip().to_canonical();
        Some(SocketAddr::new(ip, listener.local_addr().ok()?.port()).to_string())
    }

    /// What is loopback here would be another machine's own address there.
    fn may_share(&self, socket: &Socket, address: &str) -> bool {
        let is_loopback = |address: &SocketAddr| is_loopback(address.ip());
        let remote = socket.tcp_stream().and_then(|stream| stream.peer_addr().ok());
        remote.is_some_and(|remote| is_loopback(&remote))
            || !address.parse::<SocketAddr>().is_ok_and(|address| is_loopback(&address))
    }

    async fn discover(&self, learned: Vec<String>) -> Discovered<SocketAddr> {
        let (names, asked) = match self.names().await {
            Ok(names) => (names, None),
            Err(cause) => (Vec::new(), Some(cause)),
        };
        // An address that others gave is not reported if it no longer resolves.
        let (given, learned) =
            tokio::join!(join_all(names.iter().map(resolve)), join_all(learned.iter().map(resolve)));
        let mut found = Discovered { addresses: BTreeSet::new(), causes: asked.into_iter().collect() };
        for resolved in given {
            match resolved {
                Ok(addresses) => found.addresses.extend(addresses),
                Err(cause) => found.causes.push(cause),
            }
        }
        found.addresses.extend(learned.into_iter().flatten().flatten());
        found
    }

    async fn dial(&self, address: &SocketAddr) -> io::Result<Stream> {
        let socket = self.socket(TcpStream::connect(address).await?)?;
        match &self.tls {
            Some(tls) => tls.connect(socket).await,
            None => Ok(socket.into()),
        }
    }

    async fn expiries(&self, streams: &[Stream]) -> Vec<Expiry> {
        match &self.tls {
            Some(tls) => tls.expiries(streams).await,
            None => Vec::new(),
        }
    }

    fn describe_untrusted(&self, error: &rustls::Error) -> String {
        self.tls.as_ref().map_or_else(|| error.to_string(), |tls| tls.describe(error))
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// Every address of a name. The error is a sentence.
async fn resolve(name: &String) -> Result<Vec<SocketAddr>, String> {
    if let Ok(address) = name.parse() {
        return Ok(vec![address]);
    }
    let cause = |cause: &dyn fmt::Display| format!("resolving {name}: {cause}");
    match timeout(TcpNetwork::RESOLVE_TIMEOUT, lookup_host(name)).await {
        Ok(Ok(addresses)) => Ok(addresses.collect()),
        Ok(Err(error)) => Err(cause(&error)),
        Err(_) => Err(cause(&format_args!("no answer within {:?}", TcpNetwork::RESOLVE_TIMEOUT))),
    }
}
