//! Publishes the frames that the writing thread could not write itself.
//!
//! Run by the supervisor as tasks of a session. Over a socket, the thread that has the turn writes: these tasks write
//! deferred frames, wait for room when there is none, and notice the end. Over TLS, one of the tasks writes. It waits
//! for the outbound queues and for room in the connection, never for a reply. It must never reorder the frames of a
//! link.

use std::{convert::Infallible, io, sync::Arc};

use bytes::BytesMut;
use redis::{Cmd, RedisError, ValueCodec, aio::MultiplexedConnection};
use tokio_util::codec::Decoder;

use super::{
    super::socket::Socket,
    ended::Ended,
    endpoint::Publishing,
    role::{Question, Role},
    shared::Shared,
    socket_writer::SocketWriter,
    topics::Topics,
};

/// Publishes until the connection fails, or the last link has left and the server has taken all of it.
pub(super) async fn run(publishing: Publishing, shared: Arc<Shared>) -> Ended {
    let result = match publishing {
        Publishing::Socket(socket) => attend(&socket, &shared.writer).await.map_err(Into::into),
        Publishing::Client(connection) => publish(connection, &shared.writer).await,
    };
    match result {
        Ok(()) => Ended::Closed,
        Err(error) => failed(error),
    }
}

/// Writes what was deferred. The task runs after the nodes that were ready before it was woken.
pub(super) async fn write_deferred(shared: Arc<Shared>) -> Infallible {
    loop {
        shared.writer.deferred().await;
        shared.writer.write();
    }
}

async fn attend(socket: &Socket, writer: &SocketWriter) -> io::Result<()> {
    writer.open(socket.clone(), &Topics::replies_off());
    while !writer.is_done() {
        writer.stuck().await;
        if let Some(error) = writer.error() {
            return Err(error);
        }
        socket.writable().await?;
        writer.write();
    }
    socket.shut_down()?;
    // The server closes when it has read all of it: `listen` hears that.
    std::future::pending().await
}

/// Reads what the server sends to a socket, until it closes: its role, whenever the watchdog asks, and more only if
/// the server continues to answer. Ends as soon as the server has become a replica.
pub(super) async fn listen(publishing: Publishing, question: Option<Question>, shared: Arc<Shared>) -> Ended {
    let Publishing::Socket(socket) = publishing else { return std::future::pending().await };
    let (mut codec, mut bytes) = (ValueCodec::default(), BytesMut::new());
    loop {
        match socket.read(&mut bytes).await {
            Ok(1..) => loop {
                match codec.decode(&mut bytes) {
                    Ok(Some(reply))
                        if question.and_then(|asked| asked.role(&reply)) == Some(Role::Replica) =>
                    {
                        return Ended::Replica;
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(error) => return failed(error),
                }
            },
            Ok(0) if shared.writer.is_done() => return Ended::Closed,
            Ok(0) => return failed(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Err(error) => return failed(error.into()),
        }
    }
}

fn failed(error: RedisError) -> Ended {
    Ended::Failed { doing: "publishing".to_string(), error }
}

async fn publish(mut connection: MultiplexedConnection, writer: &SocketWriter) -> redis::RedisResult<()> {
    while let Some((commands, batch)) = writer.next_batch().await {
        for mut command in commands {
            command.set_no_response(true);
            connection.send_packed_command(&command).await?;
        }
        for command in writer.packing.commands(batch) {
            // A server that refuses a frame (by an ACL, say) has lost a frame; that it refuses everything is for the
            // watchdog to find.
            connection.send_packed_command(&command).await?;
        }
    }
    // A connection is served in order: the reply to this says that all before it was taken. Without a reply there is
    // nothing left to do either.
    let mut ping = Cmd::new();
    ping.arg("PING");
    let _ = connection.send_packed_command(&ping).await;
    Ok(())
}
