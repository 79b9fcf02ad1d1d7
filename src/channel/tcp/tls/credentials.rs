//! The certificate, the key and the authorities of a node, as they are read at one moment.

use std::fs;

use rustls::{
    CertificateError, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::{Pem, TcpTls};

#[derive(PartialEq, Eq)]
pub(super) struct Credentials {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    authorities: Vec<CertificateDer<'static>>,
    sources: Sources,
}

/// Where all of it comes from, for errors.
#[derive(PartialEq, Eq)]
struct Sources {
    cert: String,
    key: String,
    ca: String,
}

impl Credentials {
    /// The error is a sentence that names the option and the file, and never repeats what is in it.
    pub(super) fn read(options: &TcpTls) -> Result<Self, String> {
        let chain = certificates("cert", &options.cert)?;
        let key = text("key", &options.key).and_then(|text| {
            PrivateKeyDer::from_pem_slice(text.as_bytes())
                .map_err(|_| format!("{} holds no private key in PEM", describe("key", &options.key)))
        })?;
        let authorities = certificates("ca", &options.ca)?;
        let sources = Sources {
            cert: describe("cert", &options.cert),
            key: describe("key", &options.key),
            ca: describe("ca", &options.ca),
        };
        Ok(Self { chain, key, authorities, sources })
    }

    pub(super) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    pub(super) fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }

    pub(super) fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        for authority in &self.authorities {
            roots.add(authority.clone()).map_err(|error| {
                format!("\"channel.tls.ca\" holds a certificate that is no authority: {error}")
            })?;
        }
        Ok(roots)
    }

    pub(super) fn describe(&self, error: &rustls::Error) -> String {
        format!("{} and {}: {error}", self.sources.cert, self.sources.key)
    }

    /// Why a peer and this node do not trust each other.
    pub(super) fn describe_refusal(&self, error: &rustls::Error) -> String {
        match error {
            // Of our own verifier: rustls takes a text for an error that it did not expect.
            rustls::Error::General(reason) => reason.clone(),
            rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
                format!("the peer's certificate is of none of the authorities in {}", self.sources.ca)
            }
            rustls::Error::NoCertificatesPresented => "the peer shows no certificate".into(),
            rustls::Error::AlertReceived(alert) => {
                format!("the peer does not accept the certificate in {}: {alert:?}", self.sources.cert)
            }
            error => error.to_string(),
        }
    }
}

fn certificates(option: &str, pem: &Pem) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = text(option, pem)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) | Err(_) => Err(format!("{} holds no certificate in PEM", describe(option, pem))),
    }
}

fn text(option: &str, pem: &Pem) -> Result<String, String> {
    match pem {
        Pem::Text(text) => Ok(text.clone()),
        Pem::File(path) => {
            fs::read_to_string(path).map_err(|error| format!("{}: {error}", describe(option, pem)))
        }
    }
}

fn describe(option: &str, pem: &Pem) -> String {
    match pem {
        Pem::Text(_) => format!("\"channel.tls.{option}\""),
        Pem::File(path) => format!("\"channel.tls.{option}\" ({})", path.display()),
    }
}
