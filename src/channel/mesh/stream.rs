//! A connection's stream of bytes: a socket, or TLS over one. Any thread may write to it.

use std::{
    io::{self, Read, Write},
    sync::{Arc, Mutex},
};

use bytes::BytesMut;
use rustls::pki_types::CertificateDer;

use super::super::{lock, socket::Socket};

/// Clones are one stream.
#[derive(Clone)]
pub(in crate::channel) enum Stream {
    Plain(Socket),
    Tls(Arc<TlsStream>),
}

/// TLS whose handshake is over.
pub(in crate::channel) struct TlsStream {
    socket: Socket,
    connection: Mutex<rustls::Connection>,
    /// What this side has shown.
    certificates: Vec<CertificateDer<'static>>,
}

impl From<Socket> for Stream {
    fn from(socket: Socket) -> Self {
        Self::Plain(socket)
    }
}

impl Stream {
    pub(in crate::channel) fn tls(
        socket: Socket,
        connection: impl Into<rustls::Connection>,
        certificates: Vec<CertificateDer<'static>>,
    ) -> Self {
        Self::Tls(Arc::new(TlsStream { socket, connection: Mutex::new(connection.into()), certificates }))
    }

    pub(in crate::channel) fn socket(&self) -> &Socket {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(tls) => &tls.socket,
        }
    }

    /// The chains of certificates of this side and of the other; none without TLS.
    pub(in crate::channel) fn certificates(&self) -> [Vec<CertificateDer<'static>>; 2] {
        let Stream::Tls(tls) = self else { return [Vec::new(), Vec::new()] };
        let theirs = lock(&tls.connection).peer_certificates().unwrap_or_default().to_vec();
        [tls.certificates.clone(), theirs]
    }

    /// Takes as many bytes as there is room for; `WouldBlock` if there is none.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.try_write(bytes),
            Stream::Tls(tls) => {
                let mut connection = lock(&tls.connection);
                tls.send(&mut connection)?;
                let count = connection.writer().write(bytes)?;
                match tls.send(&mut connection) {
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
                    Ok(()) | Err(_) => Ok(count),
                }
            }
        }
    }

    /// Sends what was taken and has not left; `WouldBlock` if there is no room.
    pub(super) fn try_flush(&self) -> io::Result<()> {
        match self {
            Stream::Plain(_) => Ok(()),
            Stream::Tls(tls) => tls.send(&mut lock(&tls.connection)),
        }
    }

    pub(super) async fn writable(&self) -> io::Result<()> {
        self.socket().writable().await
    }

    /// Waits for bytes and appends them; 0 at the end. Cancel-safe.
    pub(super) async fn read(&self, bytes: &mut BytesMut) -> io::Result<usize> {
        let Stream::Tls(tls) = self else { return self.socket().read(bytes).await };
        loop {
            // First: the handshake may have read what follows it, and then nothing more arrives.
            match tls.try_read(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => tls.socket.readable().await?,
                read => return read,
            }
        }
    }

    /// Writes all of it, waiting for room.
    pub(super) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        loop {
            let written = if bytes.is_empty() { self.try_flush().map(|()| 0) } else { self.try_write(bytes) };
            match written {
                Ok(_) if bytes.is_empty() => return Ok(()),
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable().await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Announces that nothing more will be written.
    pub(super) fn shut_down(&self) -> io::Result<()> {
        if let Stream::Tls(tls) = self {
            let mut connection = lock(&tls.connection);
            connection.send_close_notify();
            // If there is no room for it, the end of the socket says the same.
            let _ = tls.send(&mut connection);
        }
        self.socket().shut_down()
    }
}

impl TlsStream {
    fn send(&self, connection: &mut rustls::Connection) -> io::Result<()> {
        while connection.wants_write() {
            connection.write_tls(&mut Ends(&self.socket))?;
        }
        Ok(())
    }

    fn try_read(&self, bytes: &mut BytesMut) -> io::Result<usize> {
        let mut connection = lock(&self.connection);
        loop {
            let mut plain = [0; 16 << 10];
            match connection.reader().read(&mut plain) {
                Ok(count) => {
                    bytes.extend_from_slice(&plain[..count]);
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if connection.read_tls(&mut Ends(&self.socket))? == 0 {
                return Ok(0);
            }
            let processed = connection.process_new_packets().map_err(io::Error::other);
            // An alert that says what is wrong, or the answer to a key update.
            let _ = self.send(&mut connection);
            processed?;
        }
    }
}

/// The socket as rustls reads and writes it: never waiting.
struct Ends<'a>(&'a Socket);

impl Read for Ends<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read_slice(buffer)
    }
}

impl Write for Ends<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
