//! The contract of a channel, as tests that run over each implementation.
//!
//! What must not be heard is shown without waiting: a later frame on the same way, the fence, arrives alone.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{sleep, timeout};

use super::{
    Channel, Health, Limits, Link,
    sealed::{Secret, Security},
};
use crate::raft::{Incarnation, Target};

/// Where the contract is tried.
trait Venue {
    /// A channel of this name.
    fn channel(&self, name: &str) -> Box<dyn Channel>;

    /// Pairs of channels that must not hear one another.
    fn apart(&self) -> Vec<[Box<dyn Channel>; 2]>;
}

async fn a_frame_to_one_is_heard_by_that_one_alone(venue: &impl Venue) {
    let [one, mut two, mut three] = joined(&*venue.channel("name")).await;
    one.outbound.say(Target::One(incarnation(2)), Bytes::from("to two"));
    one.outbound.say(Target::All, Bytes::from("fence"));
    assert_eq!(heard(&mut two, 2).await, ["to two", "fence"]);
    assert_eq!(heard(&mut three, 1).await, ["fence"]);
}

async fn a_frame_to_all_is_heard_by_all_but_its_sender(venue: &impl Venue) {
    let [mut one, mut two, mut three] = joined(&*venue.channel("name")).await;
    one.outbound.say(Target::All, Bytes::from("to all"));
    assert_eq!(heard(&mut two, 1).await, ["to all"]);
    assert_eq!(heard(&mut three, 1).await, ["to all"]);
    two.outbound.say(Target::One(incarnation(1)), Bytes::from("fence"));
    assert_eq!(heard(&mut one, 1).await, ["fence"]);
}

async fn channels_apart_do_not_hear_one_another(venue: &impl Venue) {
    for [here, there] in venue.apart() {
        let [one, mut two, _] = joined(&*here).await;
        // The same incarnations on purpose: not even a frame to one crosses.
        let [other_one, mut other_two, _] = joined(&*there).await;
        one.outbound.say(Target::All, Bytes::from("here"));
        one.outbound.say(Target::One(incarnation(2)), Bytes::from("here"));
        assert_eq!(heard(&mut two, 2).await, ["here", "here"]);
        other_one.outbound.say(Target::All, Bytes::from("there"));
        assert_eq!(heard(&mut other_two, 1).await, ["there"]);
    }
}

async fn frames_arrive_as_they_were_sent(venue: &impl Venue) {
    let [one, mut two, _] = joined(&*venue.channel("name")).await;
    let all_values: Vec<u8> = (0..=u8::MAX).collect();
    let long = |bytes: usize| Bytes::from(all_values.repeat(bytes / all_values.len()));
    for frame in [Bytes::new(), Bytes::from(all_values.clone()), long(1 << 20), long(8 << 20)] {
        for to in [Target::All, Target::One(incarnation(2))] {
            one.outbound.say(to, frame.clone());
            // Compared without printing: a failure must not print megabytes.
            assert!(heard(&mut two, 1).await == [frame.clone()], "{} bytes to {to:?}", frame.len());
        }
    }
}

async fn frames_arrive_in_order_while_nothing_fails(venue: &impl Venue) {
    let [one, mut two, _] = joined(&*venue.channel("name")).await;
    let sent: Vec<Bytes> = (0..10_000_u32).map(|number| Bytes::from(number.to_string())).collect();
    for (number, frame) in sent.iter().enumerate() {
        let to = if number % 2 == 0 { Target::All } else { Target::One(incarnation(2)) };
        one.outbound.say(to, frame.clone());
    }
    assert_eq!(heard(&mut two, sent.len()).await, sent);
}

async fn who_has_left_hears_nothing(venue: &impl Venue) {
    let channel = venue.channel("name");
    let [one, mut two, mut three] = joined(&*channel).await;
    // A server may deliver for a moment to a link that has left. What it keeps, it delivers each time.
    for _ in 0..20 {
        two.close().await;
        one.outbound.say(Target::One(incarnation(2)), Bytes::from("to no node"));
        one.outbound.say(Target::All, Bytes::from("fence"));
        assert_eq!(heard(&mut three, 1).await, ["fence"]);
        // A link that is dropped at once leaves later: frames of before would still have reached it.
        drop(channel.join(incarnation(2)));
        two = channel.join(incarnation(2));
        healthy(&mut two).await;
        one.outbound.say(Target::One(incarnation(2)), Bytes::from("to two"));
        let mut frames = Vec::new();
        while frames.last().is_none_or(|last| last != "to two") {
            frames.extend(heard(&mut two, 1).await);
        }
        if frames == ["to two"] {
            return;
        }
    }
    panic!("what was sent in between is kept for who comes back");
}

async fn closing_sends_what_is_queued(venue: &impl Venue) {
    let [one, mut two, _] = joined(&*venue.channel("name")).await;
    let sent: Vec<Bytes> = (0..5_000_u32).map(|number| Bytes::from(number.to_string())).collect();
    for frame in &sent {
        one.outbound.say(Target::All, frame.clone());
    }
    one.close().await;
    assert_eq!(heard(&mut two, sent.len()).await, sent);
}

async fn who_does_not_listen_loses_the_oldest(venue: &impl Venue) {
    let [one, mut two, _] = joined(&*venue.channel("name")).await;
    let count = Limits::OF_A_LINK.count_max + 10;
    for number in 0..count {
        one.outbound.say(Target::All, Bytes::from(number.to_string()));
        // The way out has the same bound; it must not be the one that is met.
        if number % 1_000 == 0 {
            until(|| two.inbound.newest() == Some(Bytes::from(number.to_string()))).await;
        }
    }
    until(|| two.inbound.newest() == Some(Bytes::from((count - 1).to_string()))).await;
    let frames = heard(&mut two, Limits::OF_A_LINK.count_max).await;
    assert_eq!(frames.len(), Limits::OF_A_LINK.count_max);
    assert_eq!(frames[0], "10");
}

/// Three links of one channel, each of them healthy, of the incarnations 1, 2 and 3.
async fn joined(channel: &dyn Channel) -> [Link; 3] {
    let mut links = [1, 2, 3].map(|number| channel.join(incarnation(number)));
    for link in &mut links {
        healthy(link).await;
    }
    links
}

/// Of nodes with this secret.
fn security(channel_name: &str, secret: &str) -> Security {
    Security::new(channel_name, &[Secret { id: None, secret: secret.to_string() }])
}

pub(super) fn incarnation(number: u128) -> Incarnation {
    Incarnation::from_u128(number)
}

/// Waits until frames travel.
pub(super) async fn healthy(link: &mut Link) {
    let waiting = link.health.wait_for(|health| *health == Health::Healthy);
    timeout(PATIENCE, waiting).await.expect("the link becomes healthy").expect("the link lives");
}

/// Waits until a link is broken, and says why.
pub(super) async fn broken(link: &mut Link) -> String {
    let waiting = link.health.wait_for(|health| matches!(health, Health::Broken { .. }));
    match &*timeout(PATIENCE, waiting).await.expect("the link breaks").expect("the link lives") {
        Health::Broken { cause } => cause.clone(),
        Health::Connecting | Health::Healthy => unreachable!("waited for until it was broken"),
    }
}

/// Waits for this many frames. What arrived together with the last of them is returned too.
pub(super) async fn heard(link: &mut Link, count: usize) -> Vec<Bytes> {
    let mut frames = Vec::new();
    while frames.len() < count {
        let is_open = timeout(PATIENCE, link.inbound.recv_many(&mut frames)).await;
        let is_open =
            is_open.unwrap_or_else(|_| panic!("heard {} of {count} frames: {frames:?}", frames.len()));
        assert!(is_open, "the link is open");
    }
    frames
}

/// Waits for what nothing reports.
pub(super) async fn until(mut condition: impl FnMut() -> bool) {
    let poll = async {
        while !condition() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, poll).await.expect("the condition comes true");
}

/// Far longer than anything takes, so that only a fault meets it.
const PATIENCE: Duration = Duration::from_secs(20);

macro_rules! contract {
    ($venue:expr) => {
        contract!(
            $venue,
            a_frame_to_one_is_heard_by_that_one_alone,
            a_frame_to_all_is_heard_by_all_but_its_sender,
            channels_apart_do_not_hear_one_another,
            frames_arrive_as_they_were_sent,
            frames_arrive_in_order_while_nothing_fails,
            who_has_left_hears_nothing,
            closing_sends_what_is_queued,
            who_does_not_listen_loses_the_oldest
        );
    };
    ($venue:expr, $($test:ident),+) => {
        $(
            #[tokio::test]
            async fn $test() {
                $crate::channel::contract::$test(&$venue(stringify!($test))).await;
            }
        )+
    };
}

mod memory {
    use super::{super::memory::Memory, *};

    /// All of the process meet under a name, so each test has names of its own.
    struct Process {
        test: &'static str,
    }

    impl Venue for Process {
        fn channel(&self, name: &str) -> Box<dyn Channel> {
            Box::new(Memory::new(&format!("{}: {name}", self.test)))
        }

        fn apart(&self) -> Vec<[Box<dyn Channel>; 2]> {
            vec![["one name", "another name"].map(|name| self.channel(name))]
        }
    }

    contract!(|test| Process { test });
}

mod redis {
    use super::{
        super::redis::{Redis, RedisOptions, server::RedisServer},
        *,
    };

    /// Each test has a server of its own.
    struct Server(RedisServer);

    impl Server {
        fn open(&self, options: RedisOptions) -> Box<dyn Channel> {
            let options = RedisOptions { port: Some(self.0.port()), ..options };
            Box::new(Redis::new(options).expect("these options are good"))
        }
    }

    impl Venue for Server {
        fn channel(&self, name: &str) -> Box<dyn Channel> {
            self.open(RedisOptions { channel_name: name.to_string(), ..RedisOptions::default() })
        }

        fn apart(&self) -> Vec<[Box<dyn Channel>; 2]> {
            vec![
                ["one name", "another name"].map(|name| self.channel(name)),
                // "name" must not hear "name:…" either, which begins alike.
                ["name", "name:echo"].map(|name| self.channel(name)),
                [0, 1].map(|db| self.open(RedisOptions { db: Some(db), ..RedisOptions::default() })),
            ]
        }
    }

    contract!(|_| Server(RedisServer::start(&[])));
}

/// Each link is in a process of its own, where another link shares its connections: what they send is packed.
mod redis_processes {
    use std::{
        sync::{Arc, Mutex},
        time::Duration,
    };

    use super::{
        super::{
            lock,
            redis::{Redis, RedisOptions, server::RedisServer},
        },
        *,
    };

    #[derive(Clone)]
    struct Processes {
        server: Arc<RedisServer>,
        channel_name: String,
        others: Arc<Mutex<Vec<Link>>>,
    }

    impl Channel for Processes {
        fn join(&self, me: Incarnation) -> Link {
            // Links with another patience do not share connections.
            let patience = Duration::from_millis(1_000 + u64::from(me.as_bytes()[15]));
            let open = |channel_name: String| {
                let port = Some(self.server.port());
                let options = RedisOptions { port, channel_name, patience, ..RedisOptions::default() };
                Redis::new(options).expect("these options are good")
            };
            lock(&self.others).push(open(format!("beside {}", self.channel_name)).join(me));
            open(self.channel_name.clone()).join(me)
        }
    }

    impl Venue for Processes {
        fn channel(&self, name: &str) -> Box<dyn Channel> {
            Box::new(Self { channel_name: name.to_string(), ..self.clone() })
        }

        fn apart(&self) -> Vec<[Box<dyn Channel>; 2]> {
            vec![["one name", "another name"].map(|name| self.channel(name))]
        }
    }

    contract!(|_| Processes {
        server: Arc::new(RedisServer::start(&[])),
        channel_name: String::new(),
        others: Arc::default()
    });
}

mod custom {
    use std::{
        collections::BTreeMap,
        sync::{Arc, Mutex},
    };

    use super::{
        super::{
            custom::{Custom, Notice, OpenLinks, Script},
            lock,
        },
        *,
    };

    /// Stands in for JavaScript: hands each frame on as soon as it is notified.
    #[derive(Default)]
    struct Hub {
        members: Mutex<BTreeMap<u32, Incarnation>>,
        links: OpenLinks,
    }

    impl Hub {
        fn hand_on(&self, link: u32) {
            loop {
                let frames = self.links.take(link);
                if frames.is_empty() {
                    return;
                }
                let members = lock(&self.members);
                for (to, frame) in frames {
                    let others = members.iter().filter(|(other, incarnation)| match to {
                        Target::All => **other != link,
                        Target::One(addressed) => **incarnation == addressed,
                    });
                    others.for_each(|(other, _)| self.links.received(*other, [frame.clone()]));
                }
            }
        }
    }

    impl Script for Hub {
        fn notify(&self, notice: Notice) {
            match notice {
                Notice::Join { link, me } => {
                    lock(&self.members).insert(link, me);
                    self.links.set_health(link, None);
                }
                Notice::Frames { link } => self.hand_on(link),
                Notice::Leave { link } => {
                    self.hand_on(link);
                    lock(&self.members).remove(&link);
                    self.links.left(link);
                }
            }
        }
    }

    struct Hubs;

    impl Venue for Hubs {
        fn channel(&self, _: &str) -> Box<dyn Channel> {
            let hub = Arc::new(Hub::default());
            let links = hub.links.clone();
            Box::new(Custom::new(hub, links))
        }

        fn apart(&self) -> Vec<[Box<dyn Channel>; 2]> {
            vec![["one name", "another name"].map(|name| self.channel(name))]
        }
    }

    contract!(|_| Hubs);
}

mod tcp {
    use super::{super::tcp::testing::Ports, *};

    /// Each test has ports of its own.
    struct Machine;

    impl Venue for Machine {
        fn channel(&self, name: &str) -> Box<dyn Channel> {
            Box::new(Ports::reserve().named(name))
        }

        fn apart(&self) -> Vec<[Box<dyn Channel>; 2]> {
            // They connect to each other, and part when they learn the name.
            let (here, there) = (Ports::reserve(), Ports::reserve());
            let both = [here.and(&there).named("one name"), there.and(&here).named("another name")];
            vec![both.map(|channel| Box::new(channel) as Box<dyn Channel>)]
        }
    }

    contract!(|_| Machine);
}

mod tcp_with_tls {
    use super::{
        super::tcp::{testing::Ports, tls::tests::Authority},
        *,
    };

    struct Machine(Authority);

    impl Venue for Machine {
        fn channel(&self, name: &str) -> Box<dyn Channel> {
            Box::new(Ports::reserve().named(name).with_tls(self.0.tls("node", None)))
        }

        fn apart(&self) -> Vec<[Box<dyn Channel>; 2]> {
            let (here, there) = (Ports::reserve(), Ports::reserve());
            let here = here.and(&there).named("name").with_tls(self.0.tls("node", None));
            let there = there.named("name").with_tls(Authority::new().tls("node", None));
            vec![[Box::new(here), Box::new(there)]]
        }
    }

    contract!(|_| Machine(Authority::new()));
}

mod local {
    use super::{super::local::testing::Folder, *};

    impl Venue for Folder {
        fn channel(&self, name: &str) -> Box<dyn Channel> {
            Box::new(self.named("folder", name))
        }

        fn apart(&self) -> Vec<[Box<dyn Channel>; 2]> {
            let pairs = [
                [("one folder", "name"), ("another folder", "name")],
                [("a folder for two", "one name"), ("a folder for two", "another name")],
            ];
            let open = |(folder, name): (&str, &str)| Box::new(self.named(folder, name)) as Box<dyn Channel>;
            pairs.map(|pair| pair.map(open)).into()
        }
    }

    #[cfg(unix)]
    mod unix_socket {
        use super::Folder;

        contract!(|_| Folder::of_unix_sockets());
    }

    mod port_file {
        use super::Folder;

        contract!(|_| Folder::of_port_files());
    }
}

mod sealed_memory {
    use super::{
        super::{memory::Memory, sealed::Sealed},
        *,
    };

    struct Process {
        test: &'static str,
    }

    impl Process {
        fn open(&self, name: &str, secret: &str) -> Box<dyn Channel> {
            let memory = Memory::new(&format!("{} sealed: {name}", self.test));
            Box::new(Sealed::new(Box::new(memory), security(name, secret)))
        }
    }

    impl Venue for Process {
        fn channel(&self, name: &str) -> Box<dyn Channel> {
            self.open(name, "a secret")
        }

        fn apart(&self) -> Vec<[Box<dyn Channel>; 2]> {
            vec![["a secret", "another"].map(|secret| self.open("name", secret))]
        }
    }

    contract!(|test| Process { test });
}

mod sealed_redis {
    use super::{
        super::{
            redis::{Redis, RedisOptions, server::RedisServer},
            sealed::Sealed,
        },
        *,
    };

    struct Server(RedisServer);

    impl Server {
        fn open(&self, name: &str, secret: &str) -> Box<dyn Channel> {
            let channel_name = name.to_string();
            let options = RedisOptions { port: Some(self.0.port()), channel_name, ..RedisOptions::default() };
            let redis = Redis::new(options).expect("these options are good");
            Box::new(Sealed::new(Box::new(redis), security(name, secret)))
        }
    }

    impl Venue for Server {
        fn channel(&self, name: &str) -> Box<dyn Channel> {
            self.open(name, "a secret")
        }

        fn apart(&self) -> Vec<[Box<dyn Channel>; 2]> {
            vec![["a secret", "another"].map(|secret| self.open("name", secret))]
        }
    }

    contract!(|_| Server(RedisServer::start(&[])));
}

mod redis_sentinel {
    use super::{
        super::redis::{Redis, RedisOptions, deployments::WithSentinel},
        *,
    };

    struct Deployment(WithSentinel);

    impl Venue for Deployment {
        fn channel(&self, name: &str) -> Box<dyn Channel> {
            let options = RedisOptions { channel_name: name.to_string(), ..self.0.options() };
            Box::new(Redis::new(options).expect("these options are good"))
        }

        fn apart(&self) -> Vec<[Box<dyn Channel>; 2]> {
            vec![["one name", "another name"].map(|name| self.channel(name))]
        }
    }

    contract!(|_| Deployment(WithSentinel::start()));
}

mod redis_cluster {
    use super::{
        super::redis::{Redis, RedisOptions, deployments::ThreePrimaries},
        *,
    };

    struct Deployment(ThreePrimaries);

    impl Venue for Deployment {
        fn channel(&self, name: &str) -> Box<dyn Channel> {
            let options = RedisOptions { channel_name: name.to_string(), ..self.0.options() };
            Box::new(Redis::new(options).expect("these options are good"))
        }

        fn apart(&self) -> Vec<[Box<dyn Channel>; 2]> {
            vec![["one name", "another name"].map(|name| self.channel(name))]
        }
    }

    contract!(|_| Deployment(ThreePrimaries::start()));
}
