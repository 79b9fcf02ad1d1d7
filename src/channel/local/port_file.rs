//! The entry of a link as a file with a port of the loopback interface, for systems without Unix sockets.
//!
//! Every user of a machine can connect to a port. The file also holds a token: a connection that does not begin with it
//! comes from a process that could not read the file.

use std::{
    fs, io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use bytes::BytesMut;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use uuid::Uuid;

use super::super::socket::Socket;

pub(super) const EXTENSION: &str = "port";

const TOKEN_BYTES: usize = 16;

pub(super) struct PortFile {
    listener: TcpListener,
    token: Uuid,
    path: PathBuf,
}

impl PortFile {
    pub(super) fn new(directory: &Path, name: &str) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let listener = socket.listen(1_024)?;
        let token = Uuid::new_v4();
        let unlisted = directory.join(name);
        fs::write(&unlisted, format!("{} {}", listener.local_addr()?.port(), token.simple()))?;
        let path = unlisted.with_extension(EXTENSION);
        fs::rename(&unlisted, &path)?;
        Ok(Self { listener, token, path })
    }

    pub(super) async fn accept(&self) -> io::Result<Socket> {
        Socket::new(self.listener.accept().await?.0)
    }

    pub(super) async fn check(&self, socket: &Socket) -> io::Result<()> {
        let mut token = BytesMut::with_capacity(TOKEN_BYTES);
        while token.len() < TOKEN_BYTES {
            socket.readable().await?;
            let room = TOKEN_BYTES - token.len();
            match socket.try_read_at_most(&mut token, room) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
        if token == self.token.as_bytes()[..] { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }
}

impl Drop for PortFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

pub(super) async fn dial(path: &Path) -> io::Result<Socket> {
    let text = fs::read_to_string(path)?;
    let entry =
        text.split_once(' ').and_then(|(port, token)| Some((port.parse().ok()?, token.parse().ok()?)));
    let Some((port, token)): Option<(u16, Uuid)> = entry else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let socket = Socket::new(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?)?;
    socket.write_all(token.as_bytes()).await?;
    Ok(socket)
}
