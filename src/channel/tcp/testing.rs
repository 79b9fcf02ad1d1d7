//! Ports and lines for the tests of the channel.

use std::{
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::sleep,
};

use super::{Listen, Peers, Security, Tcp, TcpOptions, TcpTls};
use crate::{
    channel::{Channel, Link},
    raft::Incarnation,
};

/// Ports of this machine, one for each of the incarnations 1, 2 and 3.
#[derive(Clone)]
pub(in crate::channel) struct Ports {
    mine: [u16; 3],
    peers: Vec<u16>,
}

impl Ports {
    pub(in crate::channel) fn reserve() -> Self {
        let listeners =
            [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("the machine has a free port"));
        let mine = listeners.map(|listener| listener.local_addr().expect("it is bound").port());
        Self { mine, peers: mine.into() }
    }

    /// These nodes also dial those.
    pub(in crate::channel) fn and(&self, others: &Self) -> Self {
        let peers = [&self.peers[..], &others.mine[..]].concat();
        Self { mine: self.mine, peers }
    }

    pub(in crate::channel) fn named(self, channel_name: &str) -> Machines {
        Machines { ports: self, channel_name: channel_name.to_string(), tls: None }
    }
}

/// A channel whose links have different ports, as if each were on a machine of its own.
pub(in crate::channel) struct Machines {
    ports: Ports,
    channel_name: String,
    tls: Option<TcpTls>,
}

impl Machines {
    pub(in crate::channel) fn with_tls(self, tls: TcpTls) -> Self {
        Self { tls: Some(tls), ..self }
    }
}

impl Channel for Machines {
    fn join(&self, me: Incarnation) -> Link {
        let number = usize::from(me.as_bytes()[15]) - 1;
        let options = options(&self.channel_name, self.ports.mine[number], &self.ports.peers);
        let tcp = Tcp::new(TcpOptions { tls: self.tls.clone(), ..options });
        tcp.expect("the certificates are good").join(me)
    }
}

pub(super) fn tcp(channel_name: &str, port: u16, peers: &[u16]) -> Tcp {
    Tcp::new(options(channel_name, port, peers)).expect("no certificate is needed")
}

pub(super) fn options(channel_name: &str, port: u16, peers: &[u16]) -> TcpOptions {
    TcpOptions {
        channel_name: channel_name.to_string(),
        security: Security::new(channel_name, &[]),
        listen: Listen::parse(&format!("127.0.0.1:{port}")).expect("it is an address"),
        advertise: None,
        peers: Peers::List(peers.iter().map(|port| format!("127.0.0.1:{port}")).collect()),
        patience: Duration::from_secs(1),
        tls: None,
    }
}

pub(super) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("the machine has a free port");
    listener.local_addr().expect("it is bound").port()
}

/// A way to a port that can be slow, or swallow everything.
#[derive(Clone, Default)]
pub(super) struct Line {
    pub(super) is_frozen: Arc<AtomicBool>,
    /// Before each 64 KiB.
    pub(super) delay_ms: Arc<AtomicU64>,
    pub(super) connections: Arc<AtomicU64>,
}

impl Line {
    /// The port at which it begins.
    pub(super) async fn open(&self, to: u16) -> u16 {
        let listener =
            tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("the machine has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let line = self.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                line.connections.fetch_add(1, Relaxed);
                let Ok(far) = TcpStream::connect(("127.0.0.1", to)).await else { continue };
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                tokio::spawn(line.clone().carry(near_in, far_out));
                tokio::spawn(line.clone().carry(far_in, near_out));
            }
        });
        port
    }

    async fn carry(self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            sleep(Duration::from_millis(self.delay_ms.load(Relaxed))).await;
            if self.is_frozen.load(Relaxed) {
                // Neither a byte nor the end passes any more.
                std::future::pending::<()>().await;
            }
            if to.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
    }
}
