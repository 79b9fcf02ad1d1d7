//! This file writes frames to the server.
//!
//! Run by the supervisor as one task per session. It waits for the outbound queue and for room in the connection,
//! never for a reply: what is queued in one turn leaves in one write, and the next turn does not wait for it. It must
//! never reorder frames.

use std::sync::Arc;

use redis::{Cmd, aio::MultiplexedConnection};

use super::{Parcel, Queue, supervisor::Ended, topics::Topics};

/// How many frames wait in the connection while the server takes none. The rest waits, bounded, in the outbound queue,
/// where the oldest are dropped. Replies that are outstanding need no bound of their own: nothing is kept for them but
/// a place in a list, and the buffers of the sockets hold only so many commands.
pub(super) const FRAMES_IN_CONNECTION_MAX: usize = 64;

/// Publishes until the connection fails, or the queue is closed and the server has taken all of it.
pub(super) async fn run(
    mut connection: MultiplexedConnection,
    topics: Topics,
    outbound: Arc<Queue<Parcel>>,
) -> Ended {
    let mut parcels = Vec::new();
    while outbound.take(&mut parcels).await {
        for parcel in parcels.drain(..) {
            // A server that refuses a frame (by an ACL, say) has lost a frame; that it refuses everything is for the
            // watchdog to find.
            if let Err(error) = connection.send_packed_command(&topics.publish(&parcel)).await {
                return Ended::Failed { doing: "publishing", error };
            }
        }
    }
    // A connection is served in order: the reply to this says that all before it was taken. Without a reply there is
    // nothing left to do either.
    let mut ping = Cmd::new();
    ping.arg("PING");
    let _ = connection.send_packed_command(&ping).await;
    Ended::Closed
}
