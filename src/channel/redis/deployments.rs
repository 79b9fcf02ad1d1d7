//! Runs Redis as it is deployed, for a test: a primary with its Sentinel, and a Redis Cluster of three primaries.
//!
//! Used by the tests of this module and by the contract. It must never leave a server behind.

use std::{
    fs,
    net::TcpListener,
    time::{Duration, Instant},
};

use redis::{Client, Value};
use tempfile::TempDir;

use super::{
    options::{RedisOptions, RedisServer as Address, Sentinels},
    server::RedisServer,
};

/// A primary, and a Sentinel that names it.
pub(crate) struct WithSentinel {
    sentinel: RedisServer,
    _primary: RedisServer,
    _folder: TempDir,
}

impl WithSentinel {
    pub(crate) fn start() -> Self {
        let primary = RedisServer::start(&[]);
        let folder = tempfile::tempdir().expect("there is room for a file");
        let file = folder.path().join("sentinel.conf");
        let monitor = format!("sentinel monitor mymaster 127.0.0.1 {} 1\n", primary.port());
        fs::write(&file, monitor).expect("there is room for a file");
        let sentinel = RedisServer::start_with_file(&file, &["--sentinel"]);
        Self { sentinel, _primary: primary, _folder: folder }
    }

    pub(crate) fn options(&self) -> RedisOptions {
        let sentinels = Sentinels {
            servers: vec![address_of(&self.sentinel)],
            primary_name: "mymaster".to_string(),
            username: None,
            password: None,
            uses_tls: false,
        };
        RedisOptions { sentinels: Some(sentinels), ..RedisOptions::default() }
    }
}

/// Three primaries that share the slots.
pub(crate) struct ThreePrimaries {
    servers: Vec<RedisServer>,
    _folders: Vec<TempDir>,
}

impl ThreePrimaries {
    const SLOTS: [[u16; 2]; 3] = [[0, 5460], [5461, 10_922], [10_923, 16_383]];

    pub(crate) fn start() -> Self {
        let (mut servers, mut folders) = (Vec::new(), Vec::new());
        for [first, last] in Self::SLOTS {
            let folder = tempfile::tempdir().expect("there is room for a file");
            let bus = free_port().to_string();
            let path = folder.path().to_str().expect("paths are text here");
            let server =
                RedisServer::start(&["--cluster-enabled", "yes", "--cluster-port", &bus, "--dir", path]);
            ask(&server, &["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
            if let Some(other) = servers.first() {
                ask(other, &["CLUSTER", "MEET", "127.0.0.1", &server.port().to_string(), &bus]);
            }
            servers.push(server);
            folders.push(folder);
        }
        let begin = Instant::now();
        while !servers.iter().all(|server| is_whole(&ask(server, &["CLUSTER", "INFO"]))) {
            assert!(begin.elapsed() < Duration::from_secs(20), "the Redis Cluster did not form");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { servers, _folders: folders }
    }

    pub(crate) fn options(&self) -> RedisOptions {
        let cluster_nodes = self.servers.iter().map(address_of).collect();
        RedisOptions { cluster_nodes, ..RedisOptions::default() }
    }
}

fn is_whole(info: &Value) -> bool {
    let text = format!("{info:?}");
    text.contains("cluster_state:ok") && text.contains("cluster_known_nodes:3")
}

fn address_of(server: &RedisServer) -> Address {
    Address { host: "127.0.0.1".to_string(), port: server.port() }
}

fn ask(server: &RedisServer, words: &[&str]) -> Value {
    let client = Client::open(server.url()).expect("our own URL is good");
    let mut connection = client.get_connection().expect("our own server answers");
    let [first, rest @ ..] = words else { unreachable!("a command has words") };
    redis::cmd(first).arg(rest).query(&mut connection).expect("our own server obeys")
}

fn free_port() -> u16 {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    port.expect("the machine has a free port").port()
}
