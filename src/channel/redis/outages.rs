//! Breaks a real server in every known way, and shows that links report it and recover.

use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::StreamExt;
use redis::{aio::MultiplexedConnection, cmd};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

use super::{
    super::{
        Channel, Health, Link,
        contract::{broken, healthy, heard, incarnation, until},
    },
    AskedCredentials, Credentials, Redis, RedisOptions, RedisTls,
    server::RedisServer,
};
use crate::raft::{Lane, Target};

/// Raft must serve again within two seconds of the server's return (docs/reliability.md), election included.
const HEALED_WITHIN: Duration = Duration::from_millis(1_000);

fn channel(server: &RedisServer) -> Redis {
    let options = RedisOptions { port: Some(server.port()), ..RedisOptions::default() };
    Redis::new(options).expect("these options are good")
}

async fn joined(channel: &Redis) -> [Link; 2] {
    let mut links = [1, 2].map(|number| channel.join(incarnation(number)));
    for link in &mut links {
        healthy(link).await;
    }
    links
}

/// Both links become healthy in time, and hear one another.
async fn heal(links: &mut [Link; 2]) {
    let begin = Instant::now();
    for link in links.iter_mut() {
        healthy(link).await;
    }
    assert!(begin.elapsed() < HEALED_WITHIN, "restored after {:?}", begin.elapsed());
    let [one, two] = links;
    one.outbound.say(Target::One(incarnation(2)), Bytes::from("ping"));
    assert_eq!(heard(two, 1).await, ["ping"]);
    two.outbound.say(Target::All, Bytes::from("pong"));
    assert_eq!(heard(one, 1).await, ["pong"]);
}

#[tokio::test]
async fn a_killed_server_that_comes_back_is_found() {
    let mut server = RedisServer::start(&[]);
    let mut links = joined(&channel(&server)).await;

    server.kill();
    for link in &mut links {
        let cause = broken(link).await;
        assert!(cause.contains(&server.url()), "{cause}");
    }
    server.run();
    heal(&mut links).await;
}

#[tokio::test]
async fn a_server_that_is_absent_at_first_is_waited_for() {
    let mut server = RedisServer::absent(&[]);
    let channel = channel(&server);
    let mut links = [1, 2].map(|number| channel.join(incarnation(number)));
    assert_eq!(*links[0].health.borrow(), Health::Connecting);
    let cause = broken(&mut links[0]).await;
    assert!(cause.starts_with(&format!("connecting to {}: ", server.url())), "{cause}");
    server.run();
    heal(&mut links).await;
}

#[tokio::test]
async fn what_was_sent_while_there_was_no_server_is_not_sent_late() {
    let mut server = RedisServer::absent(&[]);
    let impostor = TcpListener::bind(("127.0.0.1", server.port())).await.expect("the port is free");
    let channel = channel(&server);
    let one = channel.join(incarnation(1));
    one.outbound.say(Target::All, Bytes::from("stale"));
    // An attempt connects twice at most, so this is the third.
    for _ in 0..5 {
        drop(impostor.accept().await.expect("the impostor accepts"));
    }
    drop(impostor);
    let mut two = channel.join(incarnation(2));
    broken(&mut two).await;
    server.run();
    heal(&mut [one, two]).await;
}

#[tokio::test]
async fn tls_is_spoken_with_those_who_are_trusted() {
    let server = RedisServer::start_tls();
    let url = server.url().replace("redis://", "rediss://");
    let link = |connection_string: &str, tls: Option<RedisTls>| {
        let connection_string = Some(connection_string.to_string());
        let options = RedisOptions { connection_string, tls, ..RedisOptions::default() };
        Redis::new(options).expect("these options are good").join(incarnation(1))
    };

    let cause = broken(&mut link(&url, None)).await;
    assert!(cause.contains("UnknownIssuer"), "{cause}");

    let [ca, certificate, key] = [
        include_str!("testdata/ca.pem"),
        include_str!("testdata/certificate.pem"),
        include_str!("testdata/key.pem"),
    ]
    .map(String::from);
    let tls = RedisTls { ca: Some(ca), certificate_and_key: Some((certificate, key)) };
    healthy(&mut link(&url, Some(tls.clone()))).await;
    let tls = RedisTls { ca: None, ..tls };
    healthy(&mut link(&format!("{url}/#insecure"), Some(tls))).await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_frozen_server_is_noticed_and_found_again_when_it_thaws() {
    let server = RedisServer::start(&[]);
    let mut links = joined(&channel(&server)).await;

    let begin = Instant::now();
    server.freeze();
    for link in &mut links {
        assert!(broken(link).await.ends_with("no echo within 1s"));
    }
    assert!(begin.elapsed() < Duration::from_millis(1_500), "noticed after {:?}", begin.elapsed());
    // Connecting to it gets no answer either, and that is what is said in the end, three seconds after the freeze.
    for link in &links {
        until(|| cause_of(link).ends_with("no answer within 2s")).await;
    }

    server.thaw();
    heal(&mut links).await;
}

#[tokio::test]
async fn a_server_far_away_is_not_a_broken_one() {
    let server = RedisServer::start(&[]);
    let patience = Duration::from_millis(800);
    // There and back takes longer than from one echo to the next, and less than patience.
    let port = far_away(server.port(), patience / 6).await;
    let options = RedisOptions { port: Some(port), patience, ..RedisOptions::default() };
    let channel = Redis::new(options).expect("these options are good");
    let mut links = joined(&channel).await;
    // As many echoes later as would have been too many to miss, nothing has happened.
    let admin = redis::Client::open(server.url()).expect("our own URL is good");
    let mut admin = admin.get_async_pubsub().await.expect("our own server answers");
    admin
        .subscribe(format!("conflux:0:conflux:{}:echo", incarnation(1)))
        .await
        .expect("our own server obeys");
    assert_eq!(admin.on_message().take(8).count().await, 8);
    heal(&mut links).await;
    assert!(!links[0].health.has_changed().expect("the link lives"), "{:?}", links[0].health.borrow());
}

/// Echoes wait behind a frame that takes the line longer than patience; but it arrives.
#[tokio::test]
async fn a_link_that_is_busy_with_a_large_frame_is_not_broken() {
    let server = RedisServer::start(&[]);
    let mut near = channel(&server).join(incarnation(1));
    healthy(&mut near).await;
    // At most 640 KiB a second.
    let port = far_away(server.port(), Duration::from_millis(100)).await;
    let options = RedisOptions { port: Some(port), ..RedisOptions::default() };
    let mut slow = Redis::new(options).expect("these options are good").join(incarnation(2));
    healthy(&mut slow).await;
    let begin = Instant::now();
    let frame = Bytes::from(vec![7; 1_500 << 10]);
    near.outbound.say(Target::One(incarnation(2)), frame.clone());
    let mut frames = Vec::new();
    assert!(timeout(Duration::from_secs(20), slow.inbound.recv_many(&mut frames)).await.expect("it arrives"));
    assert!(begin.elapsed() > Duration::from_secs(2), "it took only {:?}", begin.elapsed());
    assert_eq!(frames, [frame]);
    assert!(!slow.health.has_changed().expect("the link lives"), "{:?}", slow.health.borrow());
}

/// A link that hears an echo late asks whether the server refuses echoes. That question is no echo.
#[tokio::test]
async fn a_link_that_was_well_for_long_survives_an_echo_that_is_late() {
    let server = RedisServer::start(&[]);
    let mut near = channel(&server).join(incarnation(1));
    healthy(&mut near).await;
    // At most 3.2 MiB a second.
    let port = far_away(server.port(), Duration::from_millis(20)).await;
    let patience = Duration::from_millis(800);
    let options = RedisOptions { port: Some(port), patience, ..RedisOptions::default() };
    let mut slow = Redis::new(options).expect("these options are good").join(incarnation(2));
    healthy(&mut slow).await;
    // As many echoes as may be unheard where anything else arrives.
    sleep(11 * patience).await;
    for _ in 0..3 {
        near.outbound.say(Target::One(incarnation(2)), Bytes::from(vec![7; 1 << 20]));
        assert_eq!(heard(&mut slow, 1).await.len(), 1);
        sleep(patience).await;
    }
    assert!(!slow.health.has_changed().expect("the link lives"), "{:?}", slow.health.borrow());
}

#[tokio::test]
async fn a_killed_connection_is_replaced() {
    let server = RedisServer::start(&[]);
    let mut links = joined(&channel(&server)).await;
    let mut admin = server.admin().await;
    for kind in ["pubsub", "normal", "pubsub"] {
        let killed: u32 = ask(&mut admin, &["CLIENT", "KILL", "TYPE", kind]).await;
        assert_eq!(killed, 1, "{kind}");
        for link in &mut links {
            broken(link).await;
        }
        heal(&mut links).await;
    }
}

#[tokio::test]
async fn a_wrong_password_is_reported_without_it_and_tried_again() {
    let server = RedisServer::start(&[]);
    let mut admin = server.admin().await;
    let _: String = ask(&mut admin, &["CONFIG", "SET", "requirepass", "another"]).await;
    let options = RedisOptions {
        port: Some(server.port()),
        password: Some("tops3cret".to_string()),
        ..RedisOptions::default()
    };
    let mut link = Redis::new(options).expect("these options are good").join(incarnation(1));
    let cause = broken(&mut link).await;
    assert!(cause.contains("WRONGPASS"), "{cause}");
    assert!(!cause.contains("tops3cret"), "{cause}");

    let _: String = ask(&mut admin, &["CONFIG", "SET", "requirepass", "tops3cret"]).await;
    healthy(&mut link).await;
}

/// A link of a user who may do everything but what the rule forbids.
async fn restricted(server: &RedisServer, user: &str, rule: &str) -> Link {
    let mut admin = server.admin().await;
    let words = ["ACL", "SETUSER", user, "on", ">pw", "+@all", "allchannels", rule];
    let _: String = ask(&mut admin, &words).await;
    let options = RedisOptions {
        port: Some(server.port()),
        username: Some(user.to_string()),
        password: Some("pw".to_string()),
        ..RedisOptions::default()
    };
    Redis::new(options).expect("these options are good").join(incarnation(3))
}

#[tokio::test]
async fn a_server_that_lets_nothing_be_published_is_quoted() {
    let server = RedisServer::start(&[]);
    let cause = broken(&mut restricted(&server, "mute", "-publish").await).await;
    assert!(cause.contains("NOPERM"), "{cause}");
}

#[tokio::test]
async fn a_server_that_goes_on_answering_is_no_trouble() {
    const FRAMES: usize = 100_000;
    let server = RedisServer::start(&[]);
    let mut answered = restricted(&server, "answered", "-client").await;
    healthy(&mut answered).await;
    let [one, _] = joined(&channel(&server)).await;
    for number in 0..FRAMES {
        answered.outbound.say(Target::One(incarnation(1)), Bytes::from("frame"));
        if number % 1_000 == 0 {
            // The server's answers come meanwhile.
            tokio::task::yield_now().await;
        }
    }
    answered.outbound.say(Target::One(incarnation(1)), Bytes::from("last"));
    until(|| one.inbound.newest() == Some(Bytes::from("last"))).await;
    assert_eq!(*answered.health.borrow(), Health::Healthy);
}

#[tokio::test]
async fn a_link_that_may_not_reach_one_node_reaches_the_others() {
    let server = RedisServer::start(&[]);
    let mut admin = server.admin().await;
    let mut cut = restricted(&server, "cut", "+@all").await;
    healthy(&mut cut).await;
    let [mut one, mut two] = joined(&channel(&server)).await;

    let [me, reached] = [3, 1].map(incarnation);
    let topics = [
        "".to_string(),
        format!(":{me}"),
        format!(":{me}:echo"),
        format!(":{me}:pack"),
        format!(":{reached}"),
    ];
    let topics = topics.map(|topic| format!("&conflux:0:conflux{topic}"));
    let rule =
        [&["ACL", "SETUSER", "cut", "resetchannels"], &topics.each_ref().map(String::as_str)[..]].concat();
    let _: String = ask(&mut admin, &rule).await;

    cut.outbound.say(Target::One(incarnation(2)), Bytes::from("cut off"));
    cut.outbound.say(Target::One(incarnation(1)), Bytes::from("to one"));
    assert_eq!(heard(&mut one, 1).await, ["to one"]);
    cut.outbound.say(Target::All, Bytes::from("fence"));
    assert_eq!(heard(&mut two, 1).await, ["fence"]);
    assert_eq!(*cut.health.borrow(), Health::Healthy);
}

#[tokio::test]
async fn what_others_publish_into_our_topics_does_no_harm() {
    let server = RedisServer::start(&[]);
    let mut links = joined(&channel(&server)).await;
    let mut admin = server.admin().await;
    let me = incarnation(1);
    for topic in ["conflux:0:conflux".to_string(), format!("conflux:0:conflux:{me}:echo")] {
        for payload in [&b""[..], b"{\"type\":1}", &[u8::MAX; 8], &[0; 8]] {
            let receivers: u32 = cmd("PUBLISH")
                .arg(&topic)
                .arg(payload)
                .query_async(&mut admin)
                .await
                .expect("it is published");
            assert!(receivers > 0, "{topic}");
        }
    }
    heal(&mut links).await;
    assert!(!links[0].health.has_changed().expect("the link lives"), "{:?}", links[0].health.borrow());
}

#[tokio::test]
async fn leaving_releases_every_connection() {
    let server = RedisServer::start(&[]);
    let mut admin = server.admin().await;
    let [one, two] = joined(&channel(&server)).await;
    assert_eq!(clients(&mut admin).await, 3, "two for both links, one for the test");
    one.close().await;
    assert_eq!(clients(&mut admin).await, 3, "the other link uses them");
    drop(two);
    let released = async { while clients(&mut admin).await > 1 {} };
    timeout(Duration::from_secs(5), released).await.expect("only the test's own connection is left");
}

/// Links on several channels of one server, which share connections.
async fn sharing(options: &RedisOptions, names: &[&str]) -> Vec<Link> {
    let join = |name: &&str| {
        let options = RedisOptions { channel_name: name.to_string(), ..options.clone() };
        Redis::new(options).expect("these options are good").join(incarnation(1))
    };
    names.iter().map(join).collect()
}

#[tokio::test]
async fn a_link_that_floods_delays_no_other() {
    let server = RedisServer::start(&[]);
    let options = RedisOptions { port: Some(server.port()), ..RedisOptions::default() };
    let mut links = sharing(&options, &["quiet", "flooding"]).await;
    for link in &mut links {
        healthy(link).await;
    }
    let [mut quiet, mut flooded] = ["quiet", "flooding"].map(|name| {
        let options = RedisOptions {
            channel_name: name.to_string(),
            patience: Duration::from_millis(999),
            ..options.clone()
        };
        Redis::new(options).expect("these options are good").join(incarnation(2))
    });
    healthy(&mut quiet).await;
    healthy(&mut flooded).await;
    // More than its queue holds, and far more than the socket takes at once.
    let large = Bytes::from(vec![7; 1 << 20]);
    for _ in 0..70 {
        links[1].outbound.send(Target::One(incarnation(2)), Lane::Bulk, large.clone());
    }
    links[1].outbound.flush();
    links[0].outbound.say(Target::One(incarnation(2)), Bytes::from("quiet"));
    assert_eq!(heard(&mut quiet, 1).await, ["quiet"]);
    until(|| flooded.inbound.newest() == Some(large.clone())).await;
    assert!(!links[0].health.has_changed().expect("the link lives"), "{:?}", links[0].health.borrow());
}

#[tokio::test]
async fn a_link_without_rights_breaks_alone() {
    let server = RedisServer::start(&[]);
    let mut admin = server.admin().await;
    let rule =
        ["ACL", "SETUSER", "some", "on", ">pw", "+@all", "resetchannels", "&conflux:0:a", "&conflux:0:a:*"];
    let _: String = ask(&mut admin, &[&rule[..], &["allkeys"]].concat()).await;
    let options = RedisOptions {
        port: Some(server.port()),
        username: Some("some".to_string()),
        password: Some("pw".to_string()),
        ..RedisOptions::default()
    };
    let mut links = sharing(&options, &["a", "b"]).await;
    healthy(&mut links[0]).await;
    let cause = broken(&mut links[1]).await;
    assert!(cause.contains("NOPERM") && cause.contains("conflux:0:b"), "{cause}");
    // Two links, and no right to the topics of processes: nothing is packed, and all of it arrives.
    let mut two = Redis::new(RedisOptions { channel_name: "a".to_string(), ..options })
        .expect("these options are good")
        .join(incarnation(2));
    healthy(&mut two).await;
    links[0].outbound.say(Target::One(incarnation(2)), Bytes::from("to two"));
    assert_eq!(heard(&mut two, 1).await, ["to two"]);
    assert_eq!(*links[0].health.borrow(), Health::Healthy);

    let _: String = ask(&mut admin, &["ACL", "SETUSER", "some", "&conflux:0:b", "&conflux:0:b:*"]).await;
    healthy(&mut links[1]).await;
    assert!(!links[0].health.has_changed().expect("the link lives"), "{:?}", links[0].health.borrow());
}

#[tokio::test]
async fn links_with_other_credentials_have_connections_of_their_own() {
    struct Given(&'static str);
    impl Credentials for Given {
        fn identity(&self) -> Option<&str> {
            Some(self.0).filter(|name| !name.is_empty())
        }

        fn ask(&self) -> Pin<Box<dyn Future<Output = Result<AskedCredentials, String>> + Send>> {
            Box::pin(async { Ok(AskedCredentials::default()) })
        }
    }
    let server = RedisServer::start(&[]);
    let mut admin = server.admin().await;
    let options = RedisOptions { port: Some(server.port()), ..RedisOptions::default() };
    let mut links = Vec::new();
    for (credentials, connections) in [
        (None, 2),
        (None, 2),
        (Some("one"), 4),
        (Some("one"), 4),
        (Some("other"), 6),
        (Some(""), 8),
        (Some(""), 10),
    ] {
        let credentials = credentials.map(|name| Arc::new(Given(name)) as Arc<dyn Credentials>);
        let options = RedisOptions { credentials, ..options.clone() };
        let mut link =
            Redis::new(options).expect("these options are good").join(incarnation(links.len() as u128));
        healthy(&mut link).await;
        links.push(link);
        let expected = async { while clients(&mut admin).await != connections + 1 {} };
        timeout(Duration::from_secs(5), expected)
            .await
            .expect("the connections are shared as they should be");
    }
}

#[tokio::test]
async fn closing_a_broken_link_does_not_wait() {
    let server = RedisServer::absent(&[]);
    let mut link = channel(&server).join(incarnation(1));
    broken(&mut link).await;
    link.outbound.say(Target::All, Bytes::from("sent into the void"));
    let begin = Instant::now();
    link.close().await;
    assert!(begin.elapsed() < Duration::from_millis(100), "closed after {:?}", begin.elapsed());
}

#[cfg(unix)]
#[tokio::test]
async fn closing_waits_half_a_second_for_a_frozen_server_and_no_longer() {
    let server = RedisServer::start(&[]);
    let [one, _] = joined(&channel(&server)).await;
    server.freeze();
    one.outbound.say(Target::All, Bytes::from("sent into the void"));
    let begin = Instant::now();
    one.close().await;
    assert!(begin.elapsed() < Duration::from_millis(750), "closed after {:?}", begin.elapsed());
}

/// A port behind which the server is, with everything delayed by this much in either direction.
async fn far_away(port: u16, delay: Duration) -> u16 {
    async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, delay: Duration) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            sleep(delay).await;
            if to.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("the machine has a free port");
    let far_port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(("127.0.0.1", port)).await.expect("our own server accepts");
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            tokio::spawn(carry(near_in, far_out, delay));
            tokio::spawn(carry(far_in, near_out, delay));
        }
    });
    far_port
}

/// The cause of a link's trouble, or nothing.
fn cause_of(link: &Link) -> String {
    match &*link.health.borrow() {
        Health::Broken { cause } => cause.clone(),
        Health::Connecting | Health::Healthy => String::new(),
    }
}

async fn ask<T: redis::FromRedisValue>(admin: &mut MultiplexedConnection, words: &[&str]) -> T {
    let mut command = redis::Cmd::new();
    command.arg(words);
    command.query_async(admin).await.expect("our own server obeys")
}

async fn clients(admin: &mut MultiplexedConnection) -> usize {
    let list: String = ask(admin, &["CLIENT", "LIST"]).await;
    list.lines().count()
}
