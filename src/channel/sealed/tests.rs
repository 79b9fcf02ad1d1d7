//! What a sealed link accepts.

use bytes::Bytes;
use proptest::prelude::*;

use super::{
    header::{HEADER_BYTES, Header, Kind},
    keys::{KeyRing, Secret},
    opener::{Opener, open_note},
    refusal::Refusal,
    security::Security,
};
use crate::{
    channel::{Channel, contract::incarnation, marker::NoteCipher, memory::Memory},
    raft::Target,
};

const BOOT: [u8; 16] = [1; 16];

/// Where the boot is in a frame.
const BOOT_AT: usize = HEADER_BYTES - 24;

fn secret(text: &str) -> Secret {
    Secret { id: None, secret: text.to_string() }
}

fn named(id: &str, text: &str) -> Secret {
    Secret { id: Some(id.to_string()), ..secret(text) }
}

fn security(secrets: &[Secret]) -> Security {
    Security::new("channel", secrets)
}

/// What a link with these secrets sends.
struct Sender {
    sealer: super::Sealer,
    security: Security,
}

impl Sender {
    fn new(security: &Security, boot: [u8; 16]) -> Self {
        Self::of(1, security, boot)
    }

    fn of(number: u128, security: &Security, boot: [u8; 16]) -> Self {
        let me = incarnation(number);
        let inner = Memory::new("a sender whose frames are handed over by hand").join(me).outbound;
        let sealer = super::Sealer::new(inner, security.clone(), me, boot);
        Self { sealer, security: security.clone() }
    }

    fn seal(&self, to: Target, frame: &'static str) -> Bytes {
        self.sealer.seal(Kind::Frame, to, Bytes::from(frame)).expect("it is not too long")
    }
}

/// The end of node 2.
fn opener(security: &Security) -> Opener {
    Opener::new(security.clone(), incarnation(2), [2; 16])
}

fn open(opener: &mut Opener, frame: Bytes) -> Vec<Bytes> {
    let mut frames = vec![frame];
    opener.open_all(&mut frames, 0);
    frames
}

#[test]
fn a_sealed_frame_shows_nothing_and_opens_to_what_it_was() {
    let security = security(&[secret("a secret")]);
    let (sender, mut opener) = (Sender::new(&security, BOOT), opener(&security));
    for to in [Target::All, Target::One(incarnation(2))] {
        let sealed = sender.seal(to, "buy 7 apples");
        assert!(!sealed.windows(3).any(|window| window == b"app"));
        assert_eq!(opener.open(sealed), Ok(Bytes::from("buy 7 apples")));
    }
}

#[test]
fn a_frame_is_accepted_once_in_any_order() {
    let security = security(&[secret("a secret")]);
    let (sender, mut opener) = (Sender::new(&security, BOOT), opener(&security));
    let [one, two, three] = ["one", "two", "three"].map(|text| sender.seal(Target::All, text));
    for frame in [&one, &three, &two] {
        assert!(opener.open(frame.clone()).is_ok());
    }
    for frame in [&one, &three, &two] {
        assert_eq!(opener.open(frame.clone()), Err(Refusal::Replayed));
    }
}

#[test]
fn a_frame_of_an_own_link_does_not_come_back() {
    let security = security(&[secret("a secret")]);
    let sender = Sender::new(&security, BOOT);
    let mut opener = Opener::new(security.clone(), incarnation(1), BOOT);
    assert_eq!(opener.open(sender.seal(Target::All, "mine")), Err(Refusal::Replayed));
    // Another process of the incarnation, with a copy of its directory, is heard.
    let copy = Sender::new(&security, [9; 16]);
    assert_eq!(opener.open(copy.seal(Target::All, "ours")), Ok(Bytes::from("ours")));
}

#[test]
fn a_frame_for_another_node_is_refused() {
    let security = security(&[secret("a secret")]);
    let (sender, mut opener) = (Sender::new(&security, BOOT), opener(&security));
    let frame = sender.seal(Target::One(incarnation(3)), "to three");
    assert_eq!(opener.open(frame), Err(Refusal::Misdirected));
}

#[test]
fn nodes_with_different_secrets_refuse_each_other_and_know_why() {
    let [with, without, other] =
        [security(&[secret("a secret")]), security(&[]), security(&[secret("another")])];
    for (from, to, refusal) in [
        (&with, &without, Refusal::Sealed),
        (&without, &with, Refusal::Unsealed),
        (&other, &with, Refusal::UnknownKey),
    ] {
        let frame = Sender::new(from, BOOT).seal(Target::All, "hello");
        let mut opener = opener(to);
        assert!(open(&mut opener, frame.clone()).is_empty());
        assert!(open(&mut opener, frame).is_empty());
        assert_eq!((to.refused(refusal), to.mismatch()), (2, Some(refusal)));
        // Reported once.
        assert_eq!(opener.take_news(), [refusal]);
    }
    assert_eq!(opener(&without).open(Bytes::from("plain")), Ok(Bytes::from("plain")));
}

#[test]
fn a_secret_for_two_channels_is_two_keys() {
    let [one, two] = ["one", "two"].map(|name| Security::new(name, &[secret("a secret")]));
    assert_ne!(one.own_key(), two.own_key());
    let frame = Sender::new(&one, BOOT).seal(Target::All, "hello");
    assert_eq!(opener(&two).open(frame), Err(Refusal::UnknownKey));
}

#[test]
fn every_key_of_the_ring_opens_and_the_first_one_seals() {
    let old = security(&[named("old", "an old secret")]);
    let both = security(&[named("new", "a new secret"), named("old", "an old secret")]);
    let mut opener = opener(&both);
    let sender = Sender::new(&old, BOOT);
    assert!(opener.open(sender.seal(Target::All, "sealed by old")).is_ok());
    assert_eq!(both.key_of(incarnation(1)).as_deref(), Some("old"));
    let before = sender.seal(Target::All, "on its way during the rotation");
    sender.security.set_secrets(&[named("new", "a new secret")]);
    let after = sender.seal(Target::All, "sealed by new");
    assert!(opener.open(after.clone()).is_ok());
    assert_eq!(both.key_of(incarnation(1)).as_deref(), Some("new"));
    assert!(opener.open(before).is_ok());
    // The counters continue over a change of the key.
    assert_eq!(opener.open(after), Err(Refusal::Replayed));
    assert_eq!(both.own_key().as_deref(), Some("new"));

    both.set_secrets(&[named("new", "a new secret")]);
    sender.security.set_secrets(&[named("old", "an old secret")]);
    assert!(open(&mut opener, sender.seal(Target::All, "too late")).is_empty());
    assert_eq!(both.refused(Refusal::UnknownKey), 1);
}

#[test]
fn a_node_that_knows_only_the_old_key_can_read_what_is_sent_to_it() {
    let ahead = security(&[named("new", "a new secret"), named("old", "an old secret")]);
    let behind = security(&[named("old", "an old secret")]);
    // Node 1 is ahead, node 2 behind.
    let (one, mut at_one) = (Sender::new(&ahead, BOOT), Opener::new(ahead.clone(), incarnation(1), BOOT));
    let (two, mut at_two) = (Sender::of(2, &behind, [2; 16]), opener(&behind));
    let to_two = Target::One(incarnation(2));
    assert_eq!(at_two.open(one.seal(to_two, "who are you?")), Err(Refusal::UnknownKey));
    assert!(at_one.open(two.seal(Target::All, "it is me")).is_ok());
    assert_eq!(ahead.key_of(incarnation(2)).as_deref(), Some("old"));
    assert!(at_two.open(one.seal(to_two, "welcome")).is_ok());
    // A key that node 2 does not know has no other name there.
    assert_eq!(behind.key_of(incarnation(1)).map(|name| name.len()), Some(16));
    assert_eq!(at_two.open(one.seal(Target::All, "hello, all")), Err(Refusal::UnknownKey));

    behind.set_secrets(&[named("new", "a new secret")]);
    assert_eq!(open(&mut at_one, two.seal(Target::All, "I have it now")).len(), 1);
    assert_eq!(open(&mut at_two, one.seal(to_two, "good")).len(), 1);
    assert_eq!(behind.key_of(incarnation(1)).as_deref(), Some("new"));
}

/// A leader sends most of what it has to all.
#[test]
fn a_node_that_knows_only_the_old_key_can_read_what_is_sent_to_all_once_it_is_known() {
    let name = "a node that knows only the old key can read what is sent to all";
    let ahead = Security::new(name, &[named("new", "a new secret"), named("old", "an old secret")]);
    let behind = Security::new(name, &[named("old", "an old secret")]);
    let join = |number, security: &Security| {
        super::Sealed::new(Box::new(Memory::new(name)), security.clone()).join(incarnation(number))
    };
    let [mut one, mut two, mut three] = [(1, &ahead), (2, &behind), (3, &ahead)].map(|(n, s)| join(n, s));
    let hear = |link: &mut crate::channel::Link| {
        let mut frames = Vec::new();
        futures_util::FutureExt::now_or_never(link.inbound.recv_many(&mut frames));
        frames
    };
    one.outbound.say(Target::All, Bytes::from("is any node there?"));
    assert!(hear(&mut two).is_empty());
    assert_eq!(hear(&mut three), ["is any node there?"]);
    two.outbound.say(Target::One(incarnation(1)), Bytes::from("it is me"));
    assert_eq!(hear(&mut one), ["it is me"]);
    one.outbound.say(Target::All, Bytes::from("hello, all"));
    assert_eq!(hear(&mut two), ["hello, all"]);
    assert_eq!(hear(&mut three), ["hello, all", "hello, all"]);
}

#[test]
fn a_change_of_the_key_is_announced() {
    let name = "a change of the key is announced";
    let security = |old: &str| Security::new(name, &[named("old", old)]);
    let [one, two] = [1, 2].map(|_| security("an old secret"));
    let join = |number, security: &Security| {
        super::Sealed::new(Box::new(Memory::new(name)), security.clone()).join(incarnation(number))
    };
    let (_one, mut at_two) = (join(1, &one), join(2, &two));
    two.set_secrets(&[named("old", "an old secret"), named("new", "a new secret")]);
    one.set_secrets(&[named("new", "a new secret"), named("old", "an old secret")]);
    let mut frames = Vec::new();
    futures_util::FutureExt::now_or_never(at_two.inbound.recv_many(&mut frames)).expect("it has arrived");
    assert!(frames.is_empty());
    assert_eq!(two.key_of(incarnation(1)).as_deref(), Some("new"));
    assert_eq!(Refusal::ALL.map(|refusal| two.refused(refusal)), [0; 8]);
}

#[test]
fn the_name_of_a_key_is_for_people_only() {
    let [named, unnamed] = [security(&[named("a name", "a secret")]), security(&[secret("a secret")])];
    let frame = Sender::new(&named, BOOT).seal(Target::All, "hello");
    assert!(opener(&unnamed).open(frame).is_ok());
    assert_eq!(unnamed.own_key().map(|name| name.len()), Some(16));
}

#[test]
fn only_authentic_frames_cost_memory_and_the_oldest_boot_goes_first() {
    let security = security(&[secret("a secret")]);
    let mut opener = opener(&security);
    let boot = |number: u64| u128::from(number).to_be_bytes();
    let first = Sender::new(&security, boot(1)).seal(Target::All, "first");
    let kept = Sender::new(&security, boot(2));
    assert!(opener.open(first.clone()).is_ok());
    let repeated = kept.seal(Target::All, "kept");
    assert!(opener.open(repeated.clone()).is_ok());
    for number in 3..3_000 {
        let mut forged = first.to_vec();
        forged[BOOT_AT..BOOT_AT + 16].copy_from_slice(&boot(number));
        assert_eq!(opener.open(forged.into()), Err(Refusal::Forged));
    }
    assert_eq!(opener.open(first.clone()), Err(Refusal::Replayed));
    for number in 3..1_030 {
        assert!(opener.open(kept.seal(Target::All, "again")).is_ok());
        assert!(opener.open(Sender::new(&security, boot(number)).seal(Target::All, "other")).is_ok());
    }
    assert_eq!(opener.open(repeated), Err(Refusal::Replayed), "a boot that is heard is never forgotten");
    assert!(opener.open(first).is_ok(), "the limit SECURITY.md names");
}

#[test]
fn notes_are_sealed_and_are_no_frames() {
    let [ours, other, none] =
        [security(&[secret("a secret")]), security(&[secret("another")]), security(&[])];
    let note = Bytes::from("members");
    let sealed = NoteCipher::seal(&Sender::new(&ours, BOOT).sealer, note.clone());
    for _ in 0..2 {
        assert_eq!(open_note(&ours, sealed.clone()), Some(note.clone()));
    }
    assert_eq!(open_note(&other, sealed.clone()), None);
    assert_eq!(open_note(&none, sealed.clone()), None);
    assert_eq!(open_note(&ours, note.clone()), None);
    assert_eq!(open_note(&none, note.clone()), Some(note));
    assert_eq!(opener(&ours).open(sealed), Err(Refusal::Unsealed));
}

#[test]
fn a_key_is_derived_from_secret_channel_and_boot() {
    let ring = |name: &str, text: &str| KeyRing::new(name, &[secret(text)]);
    let sealed = |ring: &KeyRing, boot: u8| {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes.extend_from_slice(b"the same frame");
        ring.first().expect("there is one key").of_boot(&[boot; 16]).seal(1, &mut bytes);
        bytes
    };
    let all = [
        sealed(&ring("a", "secret"), 1),
        sealed(&ring("a", "secret"), 2),
        sealed(&ring("b", "secret"), 1),
        sealed(&ring("a", "other"), 1),
    ];
    for (index, one) in all.iter().enumerate() {
        assert!(all.iter().skip(index + 1).all(|other| other != one));
    }
    assert_eq!(sealed(&ring("a", "secret"), 1), all[0]);
}

#[test]
fn headers_are_read_as_they_were_written() {
    let header = Header {
        kind: Kind::Frame,
        fingerprint: *b"12345678",
        first: *b"abcdefgh",
        from: incarnation(7),
        to: Target::One(incarnation(8)),
        boot: BOOT,
        counter: 1 << 40,
    };
    let mut bytes = Vec::new();
    header.write(&mut bytes);
    assert_eq!(bytes.len(), HEADER_BYTES);
    assert_eq!(Header::read(Kind::Frame, &bytes), Ok(header));
}

proptest! {
    #[test]
    fn every_altered_byte_and_every_cut_is_refused(
        at in 0..200_usize, mask in 1..=u8::MAX, length in 0..140_usize, cut in 0..120_usize,
    ) {
        let security = security(&[secret("a secret")]);
        let sender = Sender::new(&security, BOOT);
        let plain = Bytes::from(vec![b'x'; length]);
        let sealed = sender.sealer.seal(Kind::Frame, Target::One(incarnation(2)), plain.clone()).unwrap();
        let mut altered = sealed.to_vec();
        let at = at % altered.len();
        altered[at] ^= mask;
        let mut opener = opener(&security);
        prop_assert!(opener.open(altered.into()).is_err());
        prop_assert!(opener.open(sealed.slice(..cut.min(sealed.len() - 1))).is_err());
        let longer = [&sealed[..], &[0]].concat();
        prop_assert!(opener.open(longer.into()).is_err());
        prop_assert_eq!(opener.open(sealed), Ok(plain));
    }

    #[test]
    fn no_bytes_make_opening_panic(bytes in any::<Vec<u8>>()) {
        super::fuzzing::sealed(&bytes);
        let plain = security(&[]);
        let _ = opener(&plain).open(bytes.clone().into());
        let _ = open_note(&plain, bytes.into());
    }
}
