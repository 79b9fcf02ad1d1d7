//! The reasons for which a session with the server ends.

use std::time::Duration;

use redis::RedisError;
use tokio::task::JoinError;

/// Why a session ended, or none began.
pub(super) enum Ended {
    /// The link was closed, and the server has taken what was queued.
    Closed,
    Unconnected {
        error: RedisError,
    },
    /// The system gave no thread to look up the name, or a bug: connecting panicked.
    Refused {
        cause: String,
    },
    /// The server did not answer, whether or not it accepted the connection.
    Unanswered,
    /// The server refused, or the connection failed.
    Failed {
        doing: String,
        error: RedisError,
    },
    /// What is published on this server does not reach those on its primary.
    Replica,
    /// The Sentinels name another primary.
    Moved {
        to: String,
    },
    /// The subscriber's connection was closed.
    SubscriberClosed,
    /// The link did not hear its own echo within `patience`.
    Silent {
        patience: Duration,
    },
    /// A bug: a task panicked.
    Crashed {
        error: JoinError,
    },
}
