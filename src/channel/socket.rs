//! A socket to which any thread may write.
//!
//! Used by the Redis channel, over which redis-rs logs in, and by the mesh. It must never wait for room: a caller that
//! finds none waits for [`Socket::writable`].

use std::{
    io::{self, IoSlice, Read},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::{BufMut, BytesMut};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
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
        SockRef::from(&stream).set_tcp_keepalive(keepalive)?;
        Self::new(stream)
    }

    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self(Arc::new(Kind::Tcp(stream))))
    }

    #[cfg(unix)]
    pub(super) async fn unix(path: &std::path::Path) -> io::Result<Self> {
        Ok(Self::of_unix(tokio::net::UnixStream::connect(path).await?))
    }

    #[cfg(unix)]
    pub(super) fn of_unix(stream: tokio::net::UnixStream) -> Self {
        Self(Arc::new(Kind::Unix(stream)))
    }

    /// Writes as much as there is room for; `WouldBlock` if there is none. From any thread.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        either!(self, stream => stream.try_write(bytes))
    }

    /// Appends what has arrived, as much as there is room for in `bytes`; 0 at the end, `WouldBlock` if nothing has.
    pub(super) fn try_read(&self, bytes: &mut BytesMut) -> io::Result<usize> {
        either!(self, stream => stream.try_read_buf(bytes))
    }

    /// The same, up to this many bytes.
    pub(super) fn try_read_at_most(&self, bytes: &mut BytesMut, count_max: usize) -> io::Result<usize> {
        let mut limited = bytes.limit(count_max);
        either!(self, stream => stream.try_read_buf(&mut limited))
    }

    /// Fills a part of the buffer with what has arrived; 0 at the end, `WouldBlock` if nothing has.
    pub(super) fn try_read_slice(&self, buffer: &mut [u8]) -> io::Result<usize> {
        either!(self, stream => stream.try_read(buffer))
    }

    /// Reads once. A read that leaves room has emptied the socket: epoll reports what arrives later, so the next read waits
    /// for that instead of trying at once. tokio's own sockets do the same.
    fn receive(&self, room: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        let received = either!(self, stream => stream.try_io(Interest::READABLE, || {
            count = (&*SockRef::from(stream)).read(room)?;
            match cfg!(target_os = "linux") && 0 < count && count < room.len() {
                true => Err(io::ErrorKind::WouldBlock.into()),
                false => Ok(()),
            }
        }));
        match received {
            Err(error) if count == 0 => Err(error),
            Ok(()) | Err(_) => Ok(count),
        }
    }

    /// Writes all of it, waiting for room.
    pub(super) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.writable().await?;
            match self.try_write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(super) async fn readable(&self) -> io::Result<()> {
        either!(self, stream => stream.readable().await)
    }

    pub(super) async fn writable(&self) -> io::Result<()> {
        either!(self, stream => stream.writable().await)
    }

    /// Waits for bytes and appends them; 0 at the end. Cancel-safe.
    pub(super) async fn read(&self, bytes: &mut BytesMut) -> io::Result<usize> {
        loop {
            self.readable().await?;
            bytes.reserve(4096);
            match self.try_read(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }

    /// Announces that nothing more will be written. The other side reads all that was, and then closes.
    pub(super) fn shut_down(&self) -> io::Result<()> {
        either!(self, stream => SockRef::from(stream).shutdown(std::net::Shutdown::Write))
    }

    /// Ends the connection in both directions; what waits in it is lost.
    pub(super) fn abort(&self) {
        // A socket that has already ended refuses, which is fine.
        let _ = either!(self, stream => SockRef::from(stream).shutdown(std::net::Shutdown::Both));
    }

    pub(super) fn tcp_stream(&self) -> Option<&TcpStream> {
        match &*self.0 {
            Kind::Tcp(stream) => Some(stream),
            #[cfg(unix)]
            Kind::Unix(_) => None,
        }
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
            match self.receive(buffer.initialize_unfilled()) {
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

    /// rustls has one chance to send the alert that says why a handshake fails, and other records may wait before it.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(either!(self, stream => stream.poll_write_ready(context)))?;
            match either!(self, stream => stream.try_write_vectored(buffers)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.shut_down())
    }
}
