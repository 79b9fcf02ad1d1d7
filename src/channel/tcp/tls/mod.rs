//! Mutual TLS between the nodes of a TCP channel.
//!
//! Used by the channel for every connection, in both directions. Both sides show a certificate of the authority, and its
//! names may have to be among those that are allowed; neither the name that was dialed nor reverse DNS counts, because a
//! node's address is no identity. A session is never resumed: rustls would not verify the client again.

mod credentials;
#[cfg(test)]
pub(in crate::channel) mod tests;
mod verifier;

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use rustls::{
    ClientConfig, ServerConfig, client::Resumption, pki_types::ServerName, server::NoServerSessionStorage,
    version::TLS13,
};
use tokio::task::spawn_blocking;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::super::{
    lock,
    mesh::{Expiry, Stream},
    socket::Socket,
};
use credentials::Credentials;
use verifier::PeerVerifier;

/// What a node shows to others, and which nodes it lets in.
#[derive(Clone)]
pub struct TcpTls {
    pub cert: Pem,
    pub key: Pem,
    pub ca: Pem,
    /// DNS names or URIs, of which a peer's certificate must have one as a subject alternative name; `None`: any
    /// certificate of the authority will do.
    pub allow: Option<Vec<String>>,
}

/// Text in PEM, or the file that holds it, which is read again for each handshake.
#[derive(Clone, Debug)]
pub enum Pem {
    Text(String),
    File(PathBuf),
}

/// The TLS of one channel. Clones share the configuration.
#[derive(Clone)]
pub(super) struct Tls(Arc<Shared>);

struct Shared {
    options: TcpTls,
    /// The last one that was complete: while files are being replaced, a certificate and its key may not match.
    current: Mutex<Arc<Config>>,
}

/// What handshakes are made with.
struct Config {
    credentials: Credentials,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    verifier: Arc<PeerVerifier>,
}

impl Tls {
    /// Reads the files for the first time. The error is a sentence.
    pub(super) fn new(options: TcpTls) -> Result<Self, String> {
        let credentials = Credentials::read(&options)?;
        let config = Config::new(credentials, options.allow.as_deref())?;
        Ok(Self(Arc::new(Shared { options, current: Mutex::new(Arc::new(config)) })))
    }

    pub(super) async fn connect(&self, socket: Socket) -> io::Result<Stream> {
        // Verified by the certificate alone; a name must be given all the same.
        let name = ServerName::try_from("conflux").expect("it is a name");
        let config = self.config().await;
        let connector = TlsConnector::from(config.client.clone());
        let (socket, connection) = connector.connect(name, socket).await?.into_inner();
        Ok(Stream::tls(socket, connection, config.credentials.chain().to_vec()))
    }

    pub(super) async fn accept(&self, socket: Socket) -> io::Result<Stream> {
        let config = self.config().await;
        let acceptor = TlsAcceptor::from(config.server.clone());
        let (socket, connection) = acceptor.accept(socket).await?.into_inner();
        Ok(Stream::tls(socket, connection, config.credentials.chain().to_vec()))
    }

    /// What becomes of each connection by the certificates of both sides.
    pub(super) async fn expiries(&self, streams: &[Stream]) -> Vec<Expiry> {
        const SOON_SECONDS: u64 = 30;
        let Config { verifier, .. } = &*self.config().await;
        let expiry = |stream: &Stream| {
            let chains = stream.certificates();
            let expires_within = |seconds| chains.iter().any(|chain| verifier.expires_within(chain, seconds));
            match () {
                () if expires_within(0) => Expiry::Expired,
                () if expires_within(SOON_SECONDS) => Expiry::Soon,
                () => Expiry::Valid,
            }
        };
        streams.iter().map(expiry).collect()
    }

    /// What an error means for a peer and this node, with the file that has to do with it.
    pub(super) fn describe(&self, error: &rustls::Error) -> String {
        lock(&self.0.current).credentials.describe_refusal(error)
    }

    /// Reads the files again. What is incomplete at present does not replace what worked.
    async fn config(&self) -> Arc<Config> {
        let shared = self.0.clone();
        let read = move || {
            if let Ok(credentials) = Credentials::read(&shared.options) {
                let is_news = lock(&shared.current).credentials != credentials;
                if is_news && let Ok(config) = Config::new(credentials, shared.options.allow.as_deref()) {
                    *lock(&shared.current) = Arc::new(config);
                }
            }
        };
        // A disk may be slow; the thread of the channel must not wait for it.
        let _ = spawn_blocking(read).await;
        lock(&self.0.current).clone()
    }
}

impl Config {
    fn new(credentials: Credentials, allow: Option<&[String]>) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Arc::new(PeerVerifier::new(credentials.roots()?, allow, provider.clone())?);
        let versions = &[&TLS13];
        let failed = |error: rustls::Error| credentials.describe(&error);
        let mut client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .map_err(failed)?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_client_auth_cert(credentials.chain().to_vec(), credentials.key())
            .map_err(failed)?;
        client.resumption = Resumption::disabled();
        client.enable_sni = false;
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(failed)?
            .with_client_cert_verifier(verifier.clone())
            .with_single_cert(credentials.chain().to_vec(), credentials.key())
            .map_err(failed)?;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        Ok(Self { credentials, client: Arc::new(client), server: Arc::new(server), verifier })
    }
}
