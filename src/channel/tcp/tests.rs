//! Tests of what only this channel has: addresses, links that dial each other, and lines that are slow or dead.

use std::{sync::atomic::Ordering::Relaxed, time::Instant};

use bytes::Bytes;
use tokio::{io::AsyncWriteExt, net::TcpStream as Client, time::sleep};

use super::{
    testing::{Line, free_port, options, tcp},
    tls::tests::refusal,
    *,
};
use crate::{
    channel::{
        Health, PeerEvent,
        contract::{broken, healthy, heard, incarnation, until},
        sealed::Secret,
    },
    raft::{Lane, Target},
};

/// Waits until two links hear each other.
async fn connected(one: &mut Link, other: &mut Link, [me, them]: [u128; 2]) {
    reaches(one, other, them).await;
    reaches(other, one, me).await;
}

async fn reaches(from: &Link, to: &mut Link, name: u128) {
    let mut frames = Vec::new();
    let exchange = async {
        while frames.is_empty() {
            from.outbound.say(Target::One(incarnation(name)), Bytes::from("there?"));
            let _ = timeout(Duration::from_millis(20), to.inbound.recv_many(&mut frames)).await;
        }
    };
    timeout(Duration::from_secs(20), exchange).await.expect("they connect");
    while timeout(Duration::from_millis(50), to.inbound.recv_many(&mut frames)).await.is_ok() {}
}

#[tokio::test]
async fn members_learn_the_other_addresses_from_each_other() {
    let ports = [(); 3].map(|()| free_port());
    let mut links = Vec::new();
    for (number, port) in ports.iter().enumerate() {
        // Each knows only the first.
        let mut link = tcp("learned", *port, &ports[..1]).join(incarnation(1 + number as u128));
        healthy(&mut link).await;
        links.push(link);
    }
    let [_, two, three] = &mut links[..] else { unreachable!("there are three") };
    connected(two, three, [2, 3]).await;
}

#[tokio::test]
async fn an_incarnation_is_found_at_whatever_address_it_comes_back() {
    let [here, there, elsewhere] = [(); 3].map(|()| free_port());
    let mut one = tcp("moves", here, &[]).join(incarnation(1));
    let mut two = tcp("moves", there, &[here]).join(incarnation(2));
    connected(&mut one, &mut two, [1, 2]).await;
    drop(two);
    let mut two = tcp("moves", elsewhere, &[here]).join(incarnation(2));
    connected(&mut one, &mut two, [1, 2]).await;
}

#[tokio::test]
async fn links_that_dial_each_other_at_once_keep_one_connection() {
    for _ in 0..50 {
        let ports = [(); 2].map(|()| free_port());
        let mut links = [0, 1].map(|at| tcp("at once", ports[at], &ports).join(incarnation(1 + at as u128)));
        for link in &mut links {
            healthy(link).await;
        }
        let [one, two] = &mut links;
        connected(one, two, [1, 2]).await;
        // A frame for each connection would arrive.
        one.outbound.say(Target::All, Bytes::from("once"));
        one.outbound.say(Target::All, Bytes::from("last"));
        assert_eq!(heard(two, 2).await, ["once", "last"]);
    }
}

#[tokio::test]
async fn a_name_is_tried_at_each_of_its_addresses() {
    let port = free_port();
    let mut one = tcp("names", port, &[]).join(incarnation(1));
    // It may resolve to ::1 first, where nothing listens.
    let peers = Peers::List(vec![format!("localhost:{port}")]);
    let named = TcpOptions { peers, ..options("names", free_port(), &[]) };
    let mut two = Tcp::new(named).expect("no certificate is needed").join(incarnation(2));
    connected(&mut one, &mut two, [1, 2]).await;
}

#[tokio::test]
async fn addresses_are_asked_for_again() {
    struct Changing(std::sync::Mutex<Vec<String>>);
    impl AskedPeers for Changing {
        fn ask(&self) -> Pin<Box<dyn Future<Output = Result<Vec<String>, String>> + Send>> {
            let now = self.0.lock().expect("no test panics under the lock").clone();
            Box::pin(async { if now.is_empty() { Err("the registry is down".into()) } else { Ok(now) } })
        }
    }
    let port = free_port();
    let mut one = tcp("asked", port, &[]).join(incarnation(1));
    let peers = Arc::new(Changing(Vec::new().into()));
    let asked = TcpOptions { peers: Peers::Asked(peers.clone()), ..options("asked", 0, &[]) };
    let asked = Tcp::new(asked).expect("no certificate is needed");
    let mut two = asked.join(incarnation(2));
    assert_eq!(broken(&mut two).await, "the registry is down");
    *peers.0.lock().expect("no test panics under the lock") = vec![format!("127.0.0.1:{port}")];
    connected(&mut one, &mut two, [1, 2]).await;
    assert_eq!(*two.health.borrow(), Health::Healthy);
}

#[tokio::test]
async fn a_link_is_broken_while_it_cannot_listen() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("the machine has a free port");
    let port = taken.local_addr().expect("it is bound").port();
    let mut link = tcp("taken", port, &[]).join(incarnation(1));
    let cause = broken(&mut link).await;
    assert!(cause.starts_with(&format!("listening on 127.0.0.1:{port}: ")), "{cause}");
    drop(taken);
    healthy(&mut link).await;
}

#[tokio::test]
async fn a_link_whose_peers_refuse_is_well_and_one_that_gets_no_answer_is_not() {
    let mut refused = tcp("alone", free_port(), &[free_port()]).join(incarnation(1));
    healthy(&mut refused).await;
    // The system accepts for a process that has stopped, and that is all.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("the machine has a free port");
    let address = silent.local_addr().expect("it is bound");
    let mut unanswered = tcp("alone", free_port(), &[address.port()]).join(incarnation(2));
    assert_eq!(broken(&mut unanswered).await, format!("connecting to {address}: timed out"));
}

#[tokio::test]
async fn what_connects_and_is_no_node_does_no_harm() {
    let port = free_port();
    let mut one = tcp("guarded", port, &[]).join(incarnation(1));
    healthy(&mut one).await;
    let mut strangers = Vec::new();
    for hello in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 100], &[0, 0, 0, 1, 0], &[], &[255; 10]] {
        let mut stranger = Client::connect(("127.0.0.1", port)).await.expect("it listens");
        stranger.write_all(hello).await.expect("it is sent");
        strangers.push(stranger);
    }
    let mut two = tcp("guarded", free_port(), &[port]).join(incarnation(2));
    connected(&mut one, &mut two, [1, 2]).await;
    assert_eq!(*one.health.borrow(), Health::Healthy);
}

#[tokio::test]
async fn a_line_that_goes_dead_is_noticed_within_patience_and_replaced() {
    let (port, line) = (free_port(), Line::default());
    let mut one = tcp("dead", port, &[]).join(incarnation(1));
    let through = line.open(port).await;
    let mut two = tcp("dead", free_port(), &[through]).join(incarnation(2));
    connected(&mut one, &mut two, [1, 2]).await;
    let before = line.connections.load(Relaxed);
    line.is_frozen.store(true, Relaxed);
    let begin = Instant::now();
    // Frames that were sent meanwhile are lost with the connection; the new one works.
    until(|| line.connections.load(Relaxed) > before).await;
    assert!(begin.elapsed() < Duration::from_secs(4), "noticed after {:?}", begin.elapsed());
    line.is_frozen.store(false, Relaxed);
    connected(&mut one, &mut two, [1, 2]).await;
}

#[tokio::test]
async fn the_end_of_a_peer_is_reported_once() {
    let port = free_port();
    let mut one = tcp("ends", port, &[]).join(incarnation(1));
    let mut two = tcp("ends", free_port(), &[port]).join(incarnation(2));
    connected(&mut one, &mut two, [1, 2]).await;
    assert_eq!(one.peers.recv().await, Some(PeerEvent::Connected(incarnation(2))));
    drop(two);
    let next = timeout(Duration::from_secs(20), one.peers.recv()).await;
    assert_eq!(next.expect("it is reported"), Some(PeerEvent::Disconnected(incarnation(2))));
}

#[tokio::test]
async fn a_control_frame_does_not_wait_for_bulk_data() {
    let (port, line) = (free_port(), Line::default());
    let mut one = tcp("lanes", port, &[]).join(incarnation(1));
    let through = line.open(port).await;
    let mut two = tcp("lanes", free_port(), &[through]).join(incarnation(2));
    connected(&mut one, &mut two, [1, 2]).await;
    line.delay_ms.store(10, Relaxed);
    let large = Bytes::from(vec![7; 48 << 20]);
    two.outbound.send(Target::One(incarnation(1)), Lane::Bulk, large.clone());
    two.outbound.flush();
    sleep(Duration::from_millis(100)).await;
    two.outbound.send(Target::One(incarnation(1)), Lane::Control, Bytes::from("heartbeat"));
    two.outbound.flush();
    let first = heard(&mut one, 1).await;
    assert_eq!(first[0], "heartbeat");
    line.delay_ms.store(0, Relaxed);
    assert!(heard(&mut one, 1).await == [large], "the bulk data arrives whole");
}

#[tokio::test]
async fn only_a_node_with_a_key_in_common_is_let_in() {
    let security = |secrets: &[&str]| {
        let secrets = secrets.iter().map(|secret| Secret { id: None, secret: secret.to_string() });
        Security::new("guarded", &secrets.collect::<Vec<_>>())
    };
    let port = free_port();
    let open = |port: u16, peers: &[u16], secrets: &[&str]| {
        let options = TcpOptions { security: security(secrets), ..options("guarded", port, peers) };
        Tcp::new(options).expect("no certificate is needed")
    };
    let mut one = open(port, &[], &["old", "new"]).join(incarnation(1));
    for (secrets, reason) in [
        (&[][..], "the node there has a `channel.secret`, and this node has none"),
        (&["guessed"], "the node there has another `channel.secret`"),
    ] {
        let mut stranger = open(0, &[port], secrets).join(incarnation(2));
        assert_eq!(refusal(&mut stranger).await, format!("connecting to 127.0.0.1:{port}: {reason}"));
        stranger.outbound.say(Target::All, Bytes::from("forged"));
    }
    let mut two = open(0, &[port], &["new"]).join(incarnation(2));
    healthy(&mut two).await;
    two.outbound.say(Target::All, Bytes::from("fence"));
    assert_eq!(heard(&mut one, 1).await, ["fence"]);
}
