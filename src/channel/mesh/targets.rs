//! The addresses at which peers may be, and what is known of each.
//!
//! Asked by [`super::dialer`], which dials. It decides when an address is dialed, and whether this link can reach
//! anything at all; it has no clock of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    super::{Health, backoff::Backoff},
    hello::LinkId,
};

pub(super) struct Targets<A> {
    targets: BTreeMap<A, Target>,
    rng: [u8; 16],
    /// Addresses have been looked for, and each that was found then has been dialed once.
    has_looked: bool,
    is_first_round_over: bool,
    first_round_until: Instant,
    /// Why some addresses are not known.
    causes: Vec<String>,
    /// Why nothing can connect to this link.
    not_listening: Option<String>,
}

struct Target {
    attempt: Attempt,
    backoff: Backoff,
    failure: Option<Failure>,
    is_discovered: bool,
}

enum Attempt {
    Due(Instant),
    Dialing,
    Reached(LinkId),
    /// The address leads to this link itself.
    Own,
}

/// Why an address could not be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) cause: String,
    /// Something answered, or its machine refused: the way to the address works.
    pub(super) is_answer: bool,
}

/// What dialing an address has led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    Peer(LinkId),
    Own,
}

impl<A: Clone + Ord + Display> Targets<A> {
    /// The longest wait for addresses that do not answer, before the node takes part without them.
    const FIRST_ROUND_MAX: Duration = Duration::from_millis(500);

    /// Addresses beyond these are ignored: a function that returns more has a fault.
    const COUNT_MAX: usize = 1_024;

    pub(super) fn new(rng: [u8; 16], now: Instant) -> Self {
        Self {
            targets: BTreeMap::new(),
            rng,
            has_looked: false,
            is_first_round_over: false,
            first_round_until: now + Self::FIRST_ROUND_MAX,
            causes: Vec::new(),
            not_listening: None,
        }
    }

    /// These are the addresses at present; those that are gone are dialed no more.
    pub(super) fn discovered(&mut self, addresses: BTreeSet<A>, causes: Vec<String>, now: Instant) {
        self.has_looked = true;
        self.causes = causes;
        for (address, target) in &mut self.targets {
            target.is_discovered = addresses.contains(address);
        }
        self.targets
            .retain(|_, target| target.is_discovered || matches!(target.attempt, Attempt::Reached(_)));
        for address in addresses {
            if self.targets.len() < Self::COUNT_MAX {
                self.targets.entry(address).or_insert_with(|| Target {
                    attempt: Attempt::Due(now),
                    backoff: Backoff::new(self.rng),
                    failure: None,
                    is_discovered: true,
                });
            }
        }
    }

    pub(super) fn listening(&mut self, result: Result<(), String>) {
        self.not_listening = result.err();
    }

    pub(super) fn dialed(&mut self, address: &A, result: Result<Reached, Failure>, now: Instant) {
        let Some(target) = self.targets.get_mut(address) else { return };
        target.attempt = match &result {
            Ok(Reached::Peer(link)) => Attempt::Reached(*link),
            Ok(Reached::Own) => Attempt::Own,
            Err(_) => Attempt::Due(now + target.backoff.next()),
        };
        target.failure = result.err();
        if target.failure.is_none() {
            target.backoff.reset();
        }
    }

    /// Dials a link that is connected once more.
    pub(super) fn renew(&mut self, link: LinkId, now: Instant) {
        for target in self.targets.values_mut() {
            if matches!(target.attempt, Attempt::Reached(reached) if reached == link) {
                target.attempt = Attempt::Due(now);
            }
        }
    }

    /// The addresses that are to be dialed now; they count as being dialed from here on.
    pub(super) fn due(&mut self, now: Instant, is_connected: impl Fn(LinkId) -> bool) -> Vec<A> {
        let mut due = Vec::new();
        self.targets.retain(|_, target| {
            target.is_discovered || !matches!(target.attempt, Attempt::Reached(link) if !is_connected(link))
        });
        for (address, target) in &mut self.targets {
            match target.attempt {
                Attempt::Reached(link) if !is_connected(link) => {
                    target.attempt = Attempt::Due(now + target.backoff.next());
                }
                Attempt::Due(at) if at <= now => {
                    target.attempt = Attempt::Dialing;
                    due.push(address.clone());
                }
                Attempt::Due(_) | Attempt::Dialing | Attempt::Reached(_) | Attempt::Own => {}
            }
        }
        due
    }

    /// When there is something to do without an event.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let attempts = self.targets.values().filter_map(|target| match target.attempt {
            Attempt::Due(at) => Some(at),
            Attempt::Dialing | Attempt::Reached(_) | Attempt::Own => None,
        });
        let first_round = (!self.is_first_round_over).then_some(self.first_round_until);
        attempts.chain(first_round).min()
    }

    /// The health of this link, as far as it can know. It is broken only if no peer can connect to it, or if no
    /// address answers at all: then this link itself is probably cut off. A machine that refuses a connection has
    /// answered.
    pub(super) fn health(&mut self, has_peers: bool, now: Instant) -> Health {
        if let Some(cause) = &self.not_listening {
            return Health::Broken { cause: cause.clone() };
        }
        let was_tried = |target: &Target| match target.attempt {
            Attempt::Due(_) | Attempt::Dialing => target.failure.is_some(),
            Attempt::Reached(_) | Attempt::Own => true,
        };
        let is_over = self.has_looked && self.targets.values().all(was_tried);
        self.is_first_round_over |= is_over || now >= self.first_round_until;
        if !self.is_first_round_over {
            return Health::Connecting;
        }
        let failures = || self.targets.values().filter_map(|target| target.failure.as_ref());
        let others = self.targets.values().filter(|target| !matches!(target.attempt, Attempt::Own)).count();
        let is_unanswered = others + self.causes.len() > 0
            && failures().all(|failure| !failure.is_answer)
            && failures().count() == others;
        if has_peers || !is_unanswered {
            return Health::Healthy;
        }
        let causes: Vec<&String> = failures().map(|failure| &failure.cause).chain(&self.causes).collect();
        let cause = match causes[..] {
            [only] => only.clone(),
            [first, ..] => format!("no peer answers; {first} (and {} more)", causes.len() - 1),
            [] => unreachable!("something is unanswered"),
        };
        Health::Broken { cause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn targets(addresses: &[&'static str]) -> (Targets<&'static str>, Instant) {
        let now = Instant::now();
        let mut targets = Targets::new([0; 16], now);
        targets.discovered(addresses.iter().copied().collect(), Vec::new(), now);
        (targets, now)
    }

    fn failed(cause: &str, is_answer: bool) -> Result<Reached, Failure> {
        Err(Failure { cause: cause.into(), is_answer })
    }

    #[test]
    fn a_node_takes_part_once_each_address_was_dialed() {
        let (mut targets, now) = targets(&["a", "b", "me"]);
        assert_eq!(targets.due(now, |_| false), ["a", "b", "me"]);
        assert_eq!(targets.due(now, |_| false), Vec::<&str>::new(), "each is dialed once at a time");
        targets.dialed(&"me", Ok(Reached::Own), now);
        targets.dialed(&"a", failed("a refuses", true), now);
        assert_eq!(targets.health(false, now), Health::Connecting);
        targets.dialed(&"b", Ok(Reached::Peer(LinkId::of(1))), now);
        assert_eq!(targets.health(true, now), Health::Healthy);
    }

    #[test]
    fn addresses_that_do_not_answer_delay_a_node_for_a_bounded_time() {
        let (mut targets, now) = targets(&["a", "b"]);
        targets.due(now, |_| false);
        targets.dialed(&"b", Ok(Reached::Peer(LinkId::of(1))), now);
        assert_eq!(targets.health(true, now + 499 * MS), Health::Connecting);
        assert_eq!(targets.next_due(), Some(now + 500 * MS));
        assert_eq!(targets.health(true, now + 500 * MS), Health::Healthy);
    }

    #[test]
    fn a_link_is_cut_off_only_if_nothing_answers() {
        let (mut targets, now) = targets(&["a", "b"]);
        targets.due(now, |_| false);
        targets.dialed(&"a", failed("a is silent", false), now);
        targets.dialed(&"b", failed("b is silent", false), now);
        let cause = "no peer answers; a is silent (and 1 more)".to_string();
        assert_eq!(targets.health(false, now), Health::Broken { cause });
        assert_eq!(targets.health(true, now), Health::Healthy, "a peer has connected to this link");
        targets.dialed(&"b", failed("b refuses", true), now);
        assert_eq!(targets.health(false, now), Health::Healthy);
    }

    #[test]
    fn names_that_do_not_resolve_are_unanswered_addresses() {
        let now = Instant::now();
        let mut targets = Targets::<&str>::new([0; 16], now);
        targets.discovered(BTreeSet::new(), Vec::new(), now);
        assert_eq!(targets.health(false, now), Health::Healthy, "there is nothing to reach");
        targets.discovered(BTreeSet::new(), vec!["no such name".into()], now);
        assert_eq!(targets.health(false, now), Health::Broken { cause: "no such name".into() });
    }

    #[test]
    fn a_lost_peer_is_dialed_again_and_a_former_address_is_forgotten() {
        let (mut targets, now) = targets(&["a", "b"]);
        targets.due(now, |_| false);
        targets.dialed(&"a", Ok(Reached::Peer(LinkId::of(1))), now);
        targets.dialed(&"b", Ok(Reached::Peer(LinkId::of(2))), now);
        targets.discovered(BTreeSet::from(["a"]), Vec::new(), now);
        assert_eq!(targets.due(now, |_| false), Vec::<&str>::new());
        assert!(targets.next_due().is_some_and(|due| due > now && due <= now + 20 * MS));
        assert_eq!(targets.due(now + 20 * MS, |_| false), ["a"]);
    }
}
