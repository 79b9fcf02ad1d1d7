//! Finds the server to connect to where no option names it: asks Redis Sentinels for the primary, or a Redis Cluster for
//! the node that owns the channel's keys.
//!
//! Used by the endpoint before every connect, and while a session runs. No text of it may contain a password.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use redis::{Client, Cmd, ConnectionAddr, ConnectionInfo, RedisConnectionInfo, Value};
use tokio::time::{sleep, timeout};

use super::{
    ended::Ended,
    options::{RedisOptions, RedisServer, text_of},
    topics::Topics,
};

/// A server that takes longer is passed over: another one may know as well.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// How often Sentinels are asked during a session: a primary that is cut off from its replicas does not know that
/// another one has taken its place.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub(super) struct Discovery {
    servers: Vec<RedisServer>,
    means: Means,
    /// Which server is asked first: another one after each connect, because one that was cut off has an old answer.
    next: Arc<AtomicUsize>,
}

#[derive(Clone)]
enum Means {
    Sentinels { primary_name: String, login: RedisConnectionInfo, uses_tls: bool },
    Cluster { key: String },
}

impl Discovery {
    /// `None` if the options name the server.
    pub(super) fn new(options: &RedisOptions) -> Option<Self> {
        let (servers, means) = if let Some(sentinels) = &options.sentinels {
            let mut login = RedisConnectionInfo::default();
            if let Some(username) = &sentinels.username {
                login = login.set_username(username);
            }
            if let Some(password) = &sentinels.password {
                login = login.set_password(password);
            }
            let primary_name = sentinels.primary_name.clone();
            let means = Means::Sentinels { primary_name, login, uses_tls: sentinels.uses_tls };
            (&sentinels.servers, means)
        } else if !options.cluster_nodes.is_empty() {
            let key = Topics::tag(&Topics::channel(0, &options.channel_name));
            (&options.cluster_nodes, Means::Cluster { key })
        } else {
            return None;
        };
        Some(Self { servers: servers.clone(), means, next: Arc::default() })
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.means, Means::Cluster { .. })
    }

    /// For people.
    pub(super) fn describe(&self) -> String {
        let servers: Vec<String> = self.servers.iter().map(RedisServer::to_string).collect();
        match &self.means {
            Means::Sentinels { primary_name, .. } => {
                format!("the primary `{primary_name}` of the Sentinels {}", servers.join(", "))
            }
            Means::Cluster { .. } => format!("the Redis Cluster of {}", servers.join(", ")),
        }
    }

    /// The server to connect to now, logging in as `info` says where that is necessary; or why none is known.
    pub(super) async fn locate(&self, info: &ConnectionInfo) -> Result<RedisServer, String> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let mut why = Vec::new();
        for index in 0..self.servers.len() {
            let server = &self.servers[(first + index) % self.servers.len()];
            match timeout(ANSWER_TIMEOUT, self.ask(server, info)).await {
                Ok(Ok(found)) => return Ok(found),
                Ok(Err(cause)) => why.push(format!("{server}: {cause}")),
                Err(_) => why.push(format!("{server}: no answer within {ANSWER_TIMEOUT:?}")),
            }
        }
        Err(why.join("; "))
    }

    async fn ask(&self, server: &RedisServer, info: &ConnectionInfo) -> Result<RedisServer, String> {
        let (login, address) = match &self.means {
            Means::Sentinels { login, uses_tls: false, .. } => {
                (login, ConnectionAddr::Tcp(server.host.clone(), server.port))
            }
            Means::Sentinels { login, uses_tls: true, .. } => (login, at(info.addr(), server)),
            Means::Cluster { .. } => (info.redis_settings(), at(info.addr(), server)),
        };
        let password = login.password().map(ToString::to_string);
        let failed = |error| match &password {
            Some(password) if !password.is_empty() => text_of(&error).replace(password, "***"),
            Some(_) | None => text_of(&error),
        };
        let client = Client::open(info.clone().set_redis_settings(login.clone()).set_addr(address));
        let client = client.map_err(failed)?;
        let mut connection = client.get_multiplexed_async_connection().await.map_err(failed)?;
        match &self.means {
            Means::Sentinels { primary_name, .. } => {
                let question = ["SENTINEL", "get-master-addr-by-name", primary_name];
                let reply = connection.send_packed_command(&command(&question)).await.map_err(failed)?;
                let reply = reply.extract_error().map_err(failed)?;
                primary(&reply).ok_or_else(|| format!("it knows no primary `{primary_name}`"))
            }
            Means::Cluster { key } => {
                let slot = connection.send_packed_command(&command(&["CLUSTER", "KEYSLOT", key])).await;
                let slot = slot.and_then(Value::extract_error).map_err(failed)?;
                let slots = connection.send_packed_command(&command(&["CLUSTER", "SLOTS"])).await;
                let slots = slots.and_then(Value::extract_error).map_err(failed)?;
                owner(&slot, &slots, server).ok_or_else(|| "no node owns the channel's keys".to_string())
            }
        }
    }

    /// Ends when Sentinels name another server than this one. A node of a Redis Cluster passes on what is published, also
    /// when it does not own the keys any more.
    pub(super) async fn watch(self, info: ConnectionInfo) -> Ended {
        if self.is_cluster() {
            return pending().await;
        }
        loop {
            sleep(WATCH_INTERVAL).await;
            if let Ok(found) = self.locate(&info).await
                && !is_at(info.addr(), &found)
            {
                return Ended::Moved { to: found.to_string() };
            }
        }
    }
}

/// The same way to another server.
pub(super) fn at(address: &ConnectionAddr, server: &RedisServer) -> ConnectionAddr {
    let RedisServer { host, port } = server.clone();
    match address {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
        }
        _ => ConnectionAddr::Tcp(host, port),
    }
}

fn is_at(address: &ConnectionAddr, server: &RedisServer) -> bool {
    match address {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            *host == server.host && *port == server.port
        }
        _ => false,
    }
}

fn command(words: &[&str]) -> Cmd {
    let mut command = Cmd::new();
    command.arg(words);
    command
}

/// What a Sentinel answers: `[host, port]`, or nil.
fn primary(reply: &Value) -> Option<RedisServer> {
    let Value::Array(parts) = reply else { return None };
    let [host, port] = &parts[..] else { return None };
    Some(RedisServer { host: text(host)?, port: text(port)?.parse().ok()? })
}

/// The primary in `CLUSTER SLOTS` that owns the slot: `[[first, last, [host, port, …], replicas…], …]`. A node that
/// does not know how it is reached is where it was asked.
fn owner(slot: &Value, slots: &Value, asked: &RedisServer) -> Option<RedisServer> {
    let (Value::Int(slot), Value::Array(ranges)) = (slot, slots) else { return None };
    ranges.iter().find_map(|range| {
        let Value::Array(range) = range else { return None };
        let [Value::Int(first), Value::Int(last), Value::Array(node), ..] = &range[..] else { return None };
        let [host, Value::Int(port), ..] = &node[..] else { return None };
        let host = text(host).filter(|host| !host.is_empty()).unwrap_or_else(|| asked.host.clone());
        (first..=last).contains(&slot).then_some(RedisServer { host, port: (*port).try_into().ok()? })
    })
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(host: &str, port: u16) -> RedisServer {
        RedisServer { host: host.to_string(), port }
    }

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn the_answer_of_a_sentinel_is_a_host_and_a_port() {
        let reply = Value::Array(vec![bulk("10.0.0.7"), bulk("7000")]);
        assert_eq!(primary(&reply), Some(server("10.0.0.7", 7000)));
        for reply in [Value::Nil, Value::Array(vec![bulk("x")]), Value::Array(vec![bulk("x"), bulk("70000")])]
        {
            assert_eq!(primary(&reply), None);
        }
    }

    #[test]
    fn the_owner_of_a_slot_is_the_first_node_of_its_range() {
        let node = |host: &str, port| Value::Array(vec![bulk(host), Value::Int(port), bulk("an id")]);
        let range = |first, last, host, port| {
            let ends = [Value::Int(first), Value::Int(last)];
            Value::Array([&ends[..], &[node(host, port), node("a replica", 1)]].concat())
        };
        let slots = Value::Array(vec![range(0, 99, "one", 7001), range(100, 16383, "", 7002)]);
        let owner = |slot| owner(&Value::Int(slot), &slots, &server("asked", 7003));
        assert_eq!(owner(99), Some(server("one", 7001)));
        assert_eq!(owner(100), Some(server("asked", 7002)));
        assert_eq!(owner(16384), None);
    }
}
