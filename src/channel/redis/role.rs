//! Determines whether a server is a replica.
//!
//! Used by the endpoint on every connect, and by the watchdog with every echo. PUBLISH on a replica succeeds, and
//! reaches only its own subscribers and those of its replicas: the echo returns, and half of the cluster receives
//! nothing.

use redis::{Cmd, Value, aio::MultiplexedConnection};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Also what passes PUBLISH on to all others whatever it is, as every node of a Redis Cluster does.
    Primary,
    Replica,
}

/// A command whose reply contains the role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// Needs no right of the user, and is the only one that names a Redis Cluster. From Redis 6 on.
    Hello,
    Role,
    Info,
}

impl Question {
    /// The best first.
    const ALL: [Self; 3] = [Self::Hello, Self::Role, Self::Info];

    pub(super) fn command(self) -> Cmd {
        let words: &[&str] = match self {
            // Protocol 2 is what the connection speaks anyway.
            Self::Hello => &["HELLO", "2"],
            Self::Role => &["ROLE"],
            Self::Info => &["INFO", "replication"],
        };
        let mut command = Cmd::new();
        command.arg(words);
        command
    }

    /// The role in a reply; `None` for a refusal, and for anything that is not a reply to this question.
    pub(super) fn role(self, reply: &Value) -> Option<Role> {
        match self {
            Self::Hello => hello(reply),
            Self::Role => role(&items(reply)?.first().and_then(text)?),
            Self::Info => text(reply)?.lines().find_map(|line| role(line.strip_prefix("role:")?.trim())),
        }
    }
}

/// The server's role, and the question that found it out. `None` if the server refuses or does not know every question,
/// as a proxy may: then nothing is known.
pub(super) async fn ask(connection: &mut MultiplexedConnection) -> Option<(Question, Role)> {
    for question in Question::ALL {
        let reply = connection.send_packed_command(&question.command()).await.ok()?;
        if let Some(role) = question.role(&reply) {
            return Some((question, role));
        }
    }
    None
}

fn hello(reply: &Value) -> Option<Role> {
    let fields = items(reply)?;
    let field = |name: &str| {
        fields
            .chunks_exact(2)
            .find(|pair| text(&pair[0]).as_deref() == Some(name))
            .and_then(|pair| text(&pair[1]))
    };
    let role = role(&field("role")?)?;
    Some(if field("mode").as_deref() == Some("cluster") { Role::Primary } else { role })
}

fn role(word: &str) -> Option<Role> {
    match word {
        // The last is KeyDB's: both replicas of a pair accept everything and pass it on.
        "master" | "primary" | "active-replica" => Some(Role::Primary),
        "slave" | "replica" => Some(Role::Replica),
        _ => None,
    }
}

/// A map is the array of its keys and values.
fn items(reply: &Value) -> Option<Vec<Value>> {
    match reply {
        Value::Array(items) => Some(items.clone()),
        Value::Map(pairs) => {
            Some(pairs.iter().flat_map(|(key, value)| [key.clone(), value.clone()]).collect())
        }
        _ => None,
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(words: &[&str]) -> Value {
        Value::Array(words.iter().map(|word| Value::BulkString(word.as_bytes().to_vec())).collect())
    }

    #[test]
    fn every_question_tells_a_replica_from_a_primary() {
        let hello = |mode, role| array(&["server", "redis", "mode", mode, "role", role, "modules"]);
        let info =
            |role| Value::BulkString(format!("# Replication\r\nrole:{role}\r\nslave0:x\r\n").into_bytes());
        for (question, reply, role) in [
            (Question::Hello, hello("standalone", "master"), Some(Role::Primary)),
            (Question::Hello, hello("standalone", "replica"), Some(Role::Replica)),
            (Question::Hello, hello("cluster", "replica"), Some(Role::Primary)),
            (Question::Role, array(&["slave", "10.0.0.1", "6379", "connected", "0"]), Some(Role::Replica)),
            // What a replica of this primary is called does not matter.
            (Question::Role, array(&["master", "0", "slave"]), Some(Role::Primary)),
            (Question::Info, info("slave"), Some(Role::Replica)),
            (Question::Info, info("master"), Some(Role::Primary)),
            (Question::Hello, Value::Okay, None),
            (Question::Role, Value::Int(1), None),
            (Question::Info, Value::Nil, None),
            (Question::Role, array(&["sentinel"]), None),
        ] {
            assert_eq!(question.role(&reply), role, "{question:?}: {reply:?}");
        }
    }
}
