//! Tests which nodes accept each other, and that certificates can be replaced.

use std::{fs, path::Path, time::Duration};

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::time::timeout;
use uuid::Uuid;

use super::{Pem, TcpTls};
use crate::{
    channel::{
        Channel, Link, PeerEvent,
        contract::{heard, incarnation, until},
        tcp::{
            Tcp, TcpOptions,
            testing::{free_port, options},
        },
    },
    raft::Target,
};

/// An authority of the test.
pub(in crate::channel) struct Authority {
    params: CertificateParams,
    key: KeyPair,
    pem: String,
}

impl Authority {
    pub(in crate::channel) fn new() -> Self {
        let mut params = CertificateParams::new([]).expect("no name is a good list of names");
        // Two authorities of one name would differ only in their signatures.
        params.distinguished_name.push(DnType::CommonName, Uuid::new_v4().to_string());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("the machine has random numbers");
        let pem = params.self_signed(&key).expect("the parameters are good").pem();
        Self { params, key, pem }
    }

    /// A certificate and its key.
    fn issue(&self, name: &str, valid: Duration) -> [String; 2] {
        let mut params = CertificateParams::new([name.to_string()]).expect("it is a name");
        params.not_after = OffsetDateTime::now_utc() + valid;
        let key = KeyPair::generate().expect("the machine has random numbers");
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).expect("the parameters are good");
        [certificate.pem(), key.serialize_pem()]
    }

    pub(in crate::channel) fn tls(&self, name: &str, allow: Option<&[&str]>) -> TcpTls {
        let [cert, key] = self.issue(name, DAY);
        TcpTls {
            cert: Pem::Text(cert),
            key: Pem::Text(key),
            ca: Pem::Text(self.pem.clone()),
            allow: allow.map(|allow| allow.iter().map(ToString::to_string).collect()),
        }
    }

    /// The same in files.
    fn write(&self, folder: &Path, name: &str, valid: Duration) -> TcpTls {
        let [cert, key] = self.issue(name, valid);
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).expect("it is written");
            Pem::File(path)
        };
        TcpTls {
            cert: write("cert.pem", &cert),
            key: write("key.pem", &key),
            ca: write("ca.pem", &self.pem),
            allow: None,
        }
    }
}

const DAY: Duration = Duration::from_secs(86_400);

fn open(port: u16, peers: &[u16], tls: Option<TcpTls>) -> Tcp {
    Tcp::new(TcpOptions { tls, ..options("tls", port, peers) }).expect("the certificates are good")
}

/// Waits until a frame of one link reaches the other.
async fn reaches(from: &Link, to: &mut Link) {
    let mut frames = Vec::new();
    let exchange = async {
        while frames.is_empty() {
            from.outbound.say(Target::All, Bytes::from("there?"));
            let _ = timeout(Duration::from_millis(20), to.inbound.recv_many(&mut frames)).await;
        }
    };
    timeout(Duration::from_secs(20), exchange).await.expect("they connect");
}

/// Why the next peer and this link do not let each other in.
pub(in crate::channel) async fn refusal(link: &mut Link) -> String {
    loop {
        let event = timeout(Duration::from_secs(20), link.peers.recv()).await;
        if let PeerEvent::Refused(cause) = event.expect("a peer is refused").expect("the link lives") {
            return cause;
        }
    }
}

#[tokio::test]
async fn a_node_with_another_certificate_is_not_let_in() {
    let (authority, another) = (Authority::new(), Authority::new());
    let port = free_port();
    let allow = ["node-1", "node-2", "spiffe://shop/node-3"];
    let mut one = open(port, &[], Some(authority.tls("node-1", Some(&allow)))).join(incarnation(1));
    let [cert, key] = authority.issue("node-2", Duration::ZERO);
    let expired =
        TcpTls { cert: Pem::Text(cert), key: Pem::Text(key), ..authority.tls("node-2", Some(&allow)) };
    // The side that dials checks first.
    let stranger = another.tls("node-2", None);
    let mut stranger = open(0, &[port], Some(stranger)).join(incarnation(2));
    let cause = refusal(&mut stranger).await;
    assert!(cause.contains("is of none of the authorities in \"channel.tls.ca\""), "{cause}");
    let cause = refusal(&mut one).await;
    assert!(cause.contains("does not accept the certificate in \"channel.tls.cert\": UnknownCA"), "{cause}");
    for (tls, reason) in [
        (authority.tls("stranger", None), "the certificate's names [stranger] are not in \"allow\""),
        (expired, "invalid peer certificate: certificate expired"),
    ] {
        let stranger = open(0, &[port], Some(tls)).join(incarnation(2));
        stranger.outbound.say(Target::All, Bytes::from("forged"));
        let cause = loop {
            let cause = refusal(&mut one).await;
            if !cause.contains("alert") {
                break cause;
            }
        };
        assert!(cause.starts_with("a connection from 127.0.0.1: "), "{cause}");
        assert!(cause.contains(reason), "{cause}");
    }
    let plain = open(0, &[port], None).join(incarnation(2));
    plain.outbound.say(Target::All, Bytes::from("forged"));
    let two = open(0, &[port], Some(authority.tls("node-2", Some(&allow)))).join(incarnation(2));
    reaches(&two, &mut one).await;
}

#[tokio::test]
async fn an_authority_may_name_its_nodes_by_uris() {
    let authority = Authority::new();
    let port = free_port();
    let allow = ["spiffe://shop/node"];
    let named = |number: u128| authority.tls(&format!("node-{number}"), None);
    let mut params = CertificateParams::new([]).expect("no name is a good list of names");
    params.subject_alt_names =
        vec![rcgen::SanType::URI("spiffe://shop/node".try_into().expect("it is ASCII"))];
    let key = KeyPair::generate().expect("the machine has random numbers");
    let issuer = Issuer::from_params(&authority.params, &authority.key);
    let cert = params.signed_by(&key, &issuer).expect("the parameters are good").pem();
    let allow = Some(allow.map(String::from).to_vec());
    let mut one = open(port, &[], Some(TcpTls { allow, ..named(1) })).join(incarnation(1));
    let by_uri = TcpTls { cert: Pem::Text(cert), key: Pem::Text(key.serialize_pem()), ..named(2) };
    let two = open(0, &[port], Some(by_uri)).join(incarnation(2));
    reaches(&two, &mut one).await;
}

#[tokio::test]
async fn a_certificate_is_replaced_before_it_expires_and_a_pair_that_does_not_match_is_not_used() {
    let authority = Authority::new();
    let (folder, port) = (TempDir::new().expect("the machine has room for a folder"), free_port());
    let one = open(port, &[], Some(authority.tls("node-1", None)));
    let mut one = one.join(incarnation(1));
    let short = authority.write(folder.path(), "node-2", Duration::from_secs(12));
    let two = open(0, &[port], Some(short)).join(incarnation(2));
    reaches(&two, &mut one).await;

    // The certificate first, and its key later: in between the former pair is used.
    let [cert, key] = authority.issue("node-2", DAY);
    fs::write(folder.path().join("cert.pem"), cert).expect("it is written");
    tokio::time::sleep(Duration::from_secs(6)).await;
    fs::write(folder.path().join("key.pem"), key).expect("it is written");
    // Frames pass all the time, also when the former certificate has expired.
    let begin = std::time::Instant::now();
    let mut number = 0_u32;
    while begin.elapsed() < Duration::from_secs(10) {
        number += 1;
        two.outbound.say(Target::All, Bytes::from(number.to_string()));
        let frames = heard(&mut one, 1).await;
        until(|| frames.last() == Some(&Bytes::from(number.to_string()))).await;
    }
}

#[tokio::test]
async fn what_is_no_certificate_is_named_at_once() {
    let authority = Authority::new();
    let good = authority.tls("node", None);
    let missing = Path::new("/no/such/file.pem");
    for (tls, fault) in [
        (
            TcpTls { cert: Pem::Text("no PEM".into()), ..good.clone() },
            "\"channel.tls.cert\" holds no certificate in PEM",
        ),
        (
            TcpTls { key: Pem::Text("no PEM".into()), ..good.clone() },
            "\"channel.tls.key\" holds no private key in PEM",
        ),
        (
            TcpTls { ca: Pem::File(missing.into()), ..good.clone() },
            "\"channel.tls.ca\" (/no/such/file.pem): ",
        ),
        (
            TcpTls { key: authority.tls("another", None).key, ..good.clone() },
            "\"channel.tls.cert\" and \"channel.tls.key\": ",
        ),
    ] {
        let error = Tcp::new(TcpOptions { tls: Some(tls), ..options("tls", 0, &[]) }).err();
        let error = error.expect("it is refused");
        assert!(error.starts_with(fault), "{error}");
    }
}
