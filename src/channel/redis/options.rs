//! Turns the options of a Redis channel into a client, or reports their faults.
//!
//! Filled in by `js/`, whose `channel: {name: 'redis', …}` has the same fields in camelCase. No error of this file
//! may repeat a connection string or a password.

use std::{fmt, pin::Pin, sync::Arc, time::Duration};

use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisError, TlsCertificates,
    parse_redis_url,
};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

/// Where and how to reach a Redis server. The default is db 0 of `redis://127.0.0.1:6379`, channel name `conflux`.
///
/// Either `connection_string` is given, or any of `host`, `port`, `username`, `password`, `db`.
#[derive(Clone)]
pub struct RedisOptions {
    /// The name under which nodes meet; part of every topic.
    pub channel_name: String,
    /// `redis://[username][:password@]host[:port][/db]`; `rediss://` for TLS, with `#insecure` at its end for TLS that
    /// trusts any certificate; `unix:///path/of/socket[?db=…&user=…&pass=…]`.
    pub connection_string: Option<String>,
    /// Default: 127.0.0.1.
    pub host: Option<String>,
    /// Default: 6379.
    pub port: Option<u16>,
    /// Default: the server's default user.
    pub username: Option<String>,
    pub password: Option<String>,
    /// Asked for the username and the password on every connect, instead of the two above.
    pub credentials: Option<Arc<dyn Credentials>>,
    /// Default: 0. Nodes of different dbs don't hear one another.
    pub db: Option<u32>,
    /// TLS, with these certificates. With a connection string it must be `rediss://`, which needs no `tls` for a server
    /// whose certificate the usual authorities signed.
    pub tls: Option<RedisTls>,
    /// Trusted by TLS where `tls` has no `ca`, one certificate in PEM each; none: Mozilla's list. What is not fit to be
    /// an authority is skipped, as the lists of operating systems hold such.
    pub authorities: Vec<String>,
    /// Asked for the server, instead of `host` and `port`.
    pub sentinels: Option<Sentinels>,
    /// Some nodes of a Redis Cluster, which know the others, instead of `host` and `port`.
    pub cluster_nodes: Vec<RedisServer>,
    /// How long a link may not hear its own echo before it reconnects; about two election timeouts. Default: 1 s.
    pub patience: Duration,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisServer {
    pub host: String,
    pub port: u16,
}

impl fmt::Display for RedisServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Redis Sentinels, and how to log in there.
#[derive(Clone, PartialEq, Eq)]
pub struct Sentinels {
    pub servers: Vec<RedisServer>,
    /// The name of the primary in the configuration of the Sentinels.
    pub primary_name: String,
    pub username: Option<String>,
    pub password: Option<String>,
    /// They speak TLS, with the certificates of the server's.
    pub uses_tls: bool,
}

/// What gives a username and a password for every connect: passwords rotate and tokens expire.
pub trait Credentials: Send + Sync {
    /// Equal for what gives the same; links share connections only then. `None`: nothing else gives the same.
    fn identity(&self) -> Option<&str> {
        None
    }

    /// What to log in with now, or why that is not known.
    fn ask(&self) -> Pin<Box<dyn Future<Output = Result<AskedCredentials, String>> + Send>>;
}

#[derive(Clone, Default)]
pub struct AskedCredentials {
    pub username: Option<String>,
    pub password: Option<String>,
}

/// Certificates, in PEM.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RedisTls {
    /// Trusted instead of `authorities`, as in Node.
    pub ca: Option<String>,
    /// This client's own certificate and its key, if the server asks for one.
    pub certificate_and_key: Option<(String, String)>,
}

/// What is wrong with the options of a Redis channel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedisOptionsError {
    /// The server is described twice.
    #[error("`connectionString` and `{option}` are both given; give one or the other")]
    DescribedTwice { option: &'static str },
    /// The connection string can't be read, or names what can't be connected to.
    #[error("`connectionString` is not understood: {cause}")]
    ConnectionString { cause: String },
    #[error(
        "`connectionString` has a parameter that is not supported: {parameter}; only unix:// takes any, `db`, `user` and `pass`"
    )]
    Parameter { parameter: String },
    #[error(
        "`connectionString` ends with a fragment; only `#insecure` is supported, and only with `rediss://`"
    )]
    Fragment,
    #[error("`tls` is given, but `connectionString` does not begin with `rediss://`")]
    TlsWithoutRediss,
    #[error("`tls` is not understood: {cause}")]
    Tls { cause: String },
    #[error("the server can't be connected to: {cause}")]
    Connection { cause: String },
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            channel_name: "conflux".to_string(),
            connection_string: None,
            host: None,
            port: None,
            username: None,
            password: None,
            credentials: None,
            db: None,
            tls: None,
            authorities: Vec::new(),
            sentinels: None,
            cluster_nodes: Vec::new(),
            patience: Duration::from_secs(1),
        }
    }
}

impl RedisOptions {
    /// A client that has not connected yet.
    pub(super) fn client(&self) -> Result<Client, RedisOptionsError> {
        let info = match &self.connection_string {
            Some(text) => self.described_by(text)?,
            None => self.described_by_fields()?,
        };
        let uses_tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        if uses_tls {
            install_crypto_provider();
        }
        if !uses_tls {
            return match &self.tls {
                Some(_) => Err(RedisOptionsError::TlsWithoutRediss),
                None => Client::open(info).map_err(RedisOptionsError::connection),
            };
        }
        let mut certificates = self.tls.clone().unwrap_or_default().certificates();
        let has_authorities = !self.authorities.is_empty();
        if certificates.root_cert.is_none() && has_authorities {
            certificates.root_cert = Some(self.authorities().into_bytes());
        }
        Client::build_with_tls(info, certificates).map_err(RedisOptionsError::tls)
    }

    fn authorities(&self) -> String {
        let is_fit = |pem: &&String| {
            let certificate = CertificateDer::from_pem_slice(pem.as_bytes());
            certificate.is_ok_and(|certificate| RootCertStore::empty().add(certificate).is_ok())
        };
        self.authorities.iter().filter(is_fit).cloned().collect::<Vec<_>>().join("\n")
    }

    fn described_by(&self, connection_string: &str) -> Result<ConnectionInfo, RedisOptionsError> {
        let fields = [
            ("host", self.host.is_some()),
            ("port", self.port.is_some()),
            ("username", self.username.is_some()),
            ("password", self.password.is_some()),
            ("db", self.db.is_some()),
        ];
        if let Some((option, _)) = fields.into_iter().find(|(_, is_given)| *is_given) {
            return Err(RedisOptionsError::DescribedTwice { option });
        }
        refuse_parameters(connection_string)?;
        connection_string
            .into_connection_info()
            .map_err(|error| RedisOptionsError::ConnectionString { cause: text_of(&error) })
    }

    fn described_by_fields(&self) -> Result<ConnectionInfo, RedisOptionsError> {
        let host = self.host.clone().unwrap_or_else(|| "127.0.0.1".to_string());
        let port = self.port.unwrap_or(6379);
        let address = match self.tls {
            Some(_) => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            None => ConnectionAddr::Tcp(host, port),
        };
        let info = address.into_connection_info().map_err(RedisOptionsError::connection)?;
        let mut login = info.redis_settings().clone().set_db(self.db.unwrap_or(0).into());
        if let Some(username) = &self.username {
            login = login.set_username(username);
        }
        if let Some(password) = &self.password {
            login = login.set_password(password);
        }
        Ok(info.set_redis_settings(login))
    }
}

impl RedisTls {
    fn certificates(&self) -> TlsCertificates {
        let client_tls = self.certificate_and_key.as_ref().map(|(certificate, key)| ClientTlsConfig {
            client_cert: certificate.clone().into_bytes(),
            client_key: key.clone().into_bytes(),
        });
        TlsCertificates { client_tls, root_cert: self.ca.clone().map(String::into_bytes) }
    }
}

impl RedisOptionsError {
    fn tls(error: RedisError) -> Self {
        RedisOptionsError::Tls { cause: text_of(&error) }
    }

    pub(super) fn connection(error: RedisError) -> Self {
        RedisOptionsError::Connection { cause: text_of(&error) }
    }
}

/// Refuses what would be ignored: a parameter that another client obeys, say for a timeout or a protocol.
fn refuse_parameters(connection_string: &str) -> Result<(), RedisOptionsError> {
    // What is no URL is for redis-rs to complain of.
    let Some(url) = parse_redis_url(connection_string) else { return Ok(()) };
    let known: &[&str] = if url.scheme().ends_with("unix") { &["db", "user", "pass"] } else { &[] };
    if let Some((name, _)) = url.query_pairs().find(|(name, _)| !known.contains(&name.as_ref())) {
        // A password with an unescaped question mark looks like a parameter, too.
        let is_a_name = name.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter));
        let parameter = if is_a_name { format!("`{name}`") } else { "after its question mark".to_string() };
        return Err(RedisOptionsError::Parameter { parameter });
    }
    match url.fragment() {
        Some("insecure") if url.scheme() == "rediss" => Ok(()),
        Some(_) => Err(RedisOptionsError::Fragment),
        None => Ok(()),
    }
}

/// An error as text: the server's words, or those of redis-rs without the name of the error kind.
pub(super) fn text_of(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        (Some(_), None) | (None, Some(_)) | (None, None) => {
            error.to_string().replace(&format!(" - {:?}", error.kind()), "")
        }
    }
}

/// rustls panics at the first connection unless the process has a provider of cryptography; ring builds everywhere
/// that we do with nothing but a C compiler.
fn install_crypto_provider() {
    // It fails only if there is one already, which then is used.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_string(text: &str) -> RedisOptions {
        RedisOptions { connection_string: Some(text.to_string()), ..RedisOptions::default() }
    }

    /// The address and the db that options lead to.
    fn reached(options: RedisOptions) -> (String, i64) {
        let endpoint = super::super::Endpoint::new(&options).expect("these options are good");
        (endpoint.address().to_string(), endpoint.db())
    }

    fn fault(options: RedisOptions) -> RedisOptionsError {
        options.client().expect_err("these options are bad")
    }

    #[test]
    fn no_option_means_the_local_server() {
        assert_eq!(reached(RedisOptions::default()), ("redis://127.0.0.1:6379".to_string(), 0));
    }

    #[test]
    fn a_connection_string_and_fields_lead_to_the_same_server() {
        let fields = RedisOptions {
            host: Some("example.org".to_string()),
            port: Some(7000),
            username: Some("user".to_string()),
            password: Some("p@ss/word".to_string()),
            db: Some(3),
            ..RedisOptions::default()
        };
        let string = with_string("redis://user:p%40ss%2Fword@example.org:7000/3");
        let [by_fields, by_string] = [&fields, &string].map(|options| {
            let info = options.client().expect("these options are good").get_connection_info().clone();
            let login = info.redis_settings().clone();
            (login.username().map(String::from), login.password().map(String::from), login.db())
        });
        assert_eq!(by_fields, by_string);
        assert_eq!(reached(fields), ("redis://example.org:7000".to_string(), 3));
        assert_eq!(reached(string), ("redis://example.org:7000".to_string(), 3));
    }

    #[test]
    fn tls_is_asked_for_by_the_scheme_or_by_its_option() {
        for text in ["rediss://example.org", "rediss://example.org/#insecure"] {
            assert_eq!(reached(with_string(text)), ("rediss://example.org:6379".to_string(), 0), "{text}");
        }
        let by_option = RedisOptions { tls: Some(RedisTls::default()), ..RedisOptions::default() };
        assert_eq!(reached(by_option), ("rediss://127.0.0.1:6379".to_string(), 0));
    }

    #[test]
    fn a_server_described_twice_is_refused() {
        let both = RedisOptions { db: Some(1), ..with_string("redis://127.0.0.1") };
        assert_eq!(fault(both), RedisOptionsError::DescribedTwice { option: "db" });
    }

    #[test]
    fn tls_for_a_string_that_says_no_tls_is_refused() {
        let both = RedisOptions { tls: Some(RedisTls::default()), ..with_string("redis://127.0.0.1") };
        assert_eq!(fault(both), RedisOptionsError::TlsWithoutRediss);
    }

    #[test]
    fn certificates_that_are_none_are_refused() {
        let tls = RedisTls { certificate_and_key: Some(("no".to_string(), "pem".to_string())), ca: None };
        let options = RedisOptions { tls: Some(tls), ..with_string("rediss://127.0.0.1") };
        assert!(matches!(fault(options), RedisOptionsError::Tls { .. }));
    }

    #[test]
    fn what_is_no_connection_string_is_refused_without_repeating_it() {
        for text in
            ["", "127.0.0.1:6379", "http://:secret@host", "redis://:secret@host/secret", "redis://:secret@"]
        {
            let fault = fault(with_string(text));
            assert!(matches!(fault, RedisOptionsError::ConnectionString { .. }), "{text}: {fault}");
            assert!(!fault.to_string().contains("secret"), "{fault}");
        }
    }
}
