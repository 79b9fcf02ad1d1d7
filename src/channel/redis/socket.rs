//! A socket to which any thread may write, and over which redis-rs can log in.
//!
//! Opened by the endpoint, written to by the socket writer. TLS is not for it: what a turn says would have to be encrypted
//! under a lock that reads hold as well.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use redis::io::tcp::socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Clones are one socket; it closes with the last of them.
#[derive(Clone)]
pub(super) struct Socket(Arc<Kind>);

enum Kind {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
}

/// Does the same with either kind of socket.
macro_rules! either {
    ($socket:expr, $stream:ident => $what:expr) => {
        match &*$socket.0 {
            Kind::Tcp($stream) => $what,
            #[cfg(unix)]
            Kind::Unix($stream) => $what,
        }
    };
}

impl Socket {
    pub(super) async fn tcp(host: &str, port: u16, keepalive: &TcpKeepalive) -> io::Result<Self> {
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        SockRef::from(&stream).set_tcp_keepalive(keepalive)?;
        Ok(Self(Arc::new(Kind::Tcp(stream))))
    }

    #[cfg(unix)]
    pub(super) async fn unix(path: &std::path::Path) -> io::Result<Self> {
        Ok(Self(Arc::new(Kind::Unix(tokio::net::UnixStream::connect(path).await?))))
    }

    /// Writes as much as there is room for; `WouldBlock` if there is none. From any thread.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        either!(self, stream => stream.try_write(bytes))
    }

    pub(super) async fn writable(&self) -> io::Result<()> {
        either!(self, stream => stream.writable().await)
    }

    /// Waits for bytes and appends them; 0 at the end. Cancel-safe.
    pub(super) async fn read(&self, bytes: &mut BytesMut) -> io::Result<usize> {
        let mut buffer = [0; 4096];
        loop {
            either!(self, stream => stream.readable().await)?;
            match either!(self, stream => stream.try_read(&mut buffer)) {
                Ok(count) => {
                    bytes.extend_from_slice(&buffer[..count]);
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Says that nothing more will be written. The other side reads all that was, and then closes.
    pub(super) fn shut_down(&self) -> io::Result<()> {
        either!(self, stream => SockRef::from(stream).shutdown(std::net::Shutdown::Write))
    }
}

/// A socket that counts the bytes that it reads, also those of what has not arrived whole.
pub(super) struct Counting {
    socket: Socket,
    received: Arc<AtomicU64>,
}

impl Counting {
    pub(super) fn new(socket: Socket, received: Arc<AtomicU64>) -> Self {
        Self { socket, received }
    }
}

impl AsyncRead for Counting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(context, buffer);
        self.received.fetch_add((buffer.filled().len() - before) as u64, Ordering::Relaxed);
        read
    }
}

impl AsyncWrite for Counting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(either!(self, stream => stream.poll_read_ready(context)))?;
            match either!(self, stream => stream.try_read(buffer.initialize_unfilled())) {
                Ok(count) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(either!(self, stream => stream.poll_write_ready(context)))?;
            match self.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.shut_down())
    }
}
