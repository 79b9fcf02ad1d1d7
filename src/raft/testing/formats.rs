//! Holds the bytes that outlive the program which wrote them, or that another version reads: frames, entries of
//! the log, snapshot images. The disk's own are in `storage/disk/record.rs`.
//!
//! `formats.txt` beside it has them as version 1 of the protocol writes them, a line each. A line that changes is a
//! format that changed: that needs a new version of the protocol, and a way to read the former one.
//! `UPDATE_GOLDENFILES=1 cargo test formats` writes new lines.

use std::path::Path;

use bytes::Bytes;

use crate::raft::application::Application;
use crate::raft::consensus::entry::{Admission, Context, Request, RequestId, Stamp};
use crate::raft::coordination::{
    EndReason, SessionEnd, SessionStart, StartReason, SystemAction, TimerChange, TimerFiring,
};
use crate::raft::events::{Answered, Delivery, Position};
use crate::raft::membership::members::Members;
use crate::raft::snapshot::Snapshot;
use crate::raft::wire::frame::{
    Ancestor, Chunk, ClusterAnnouncement, Frame, Malformed, Message, OperationReply, OperationRequest,
    Outcome, RaftKind, RaftMessage, Receivers, Refused, RequestItem, Requests, Roster, Started, VERSION,
    WireEntry,
};
use crate::raft::{ClusterUuid, Incarnation, Input, Node, Options, Start, Warning, Work};

/// Every kind, in the order of their bytes.
pub const RAFT_KINDS: [RaftKind; 10] = [
    RaftKind::Append,
    RaftKind::AppendResponse,
    RaftKind::Heartbeat,
    RaftKind::HeartbeatResponse,
    RaftKind::RequestVote,
    RaftKind::RequestVoteResponse,
    RaftKind::RequestPreVote,
    RaftKind::RequestPreVoteResponse,
    RaftKind::TimeoutNow,
    RaftKind::Receipt,
];

fn incarnation(number: u128) -> Incarnation {
    Incarnation::from_u128(number << 64 | 0x0102_0304_0506_0700 | number)
}

fn application() -> Application {
    Application::new(Some("shop"), ["cancel", "order"])
}

fn started() -> Option<Started> {
    let start = |number| Start { number, nonce: 0xfedc_ba98_7654_3200 + number };
    Some(Started { start: start(2), former: Some(start(1)) })
}

fn roster() -> Roster {
    Roster(vec![(incarnation(1), "a".into()), (incarnation(2), "bé".into())])
}

/// Every message, each variant of what is in them included; a new one finds its place by `place`.
fn messages() -> Vec<Message> {
    let cluster = roster().uuid();
    let raft = |kind| RaftMessage {
        kind,
        term: 3,
        log_term: 2,
        index: 300,
        commit: 299,
        commit_term: 2,
        reject: true,
        reject_hint: 70_000,
        context: Bytes::from_static(b"context"),
        entries: vec![
            WireEntry { term: 2, index: 301, is_change: false, data: "1".into(), context: "x".into() },
            WireEntry { term: 3, index: 302, is_change: true, data: Bytes::new(), context: Bytes::new() },
        ],
        asks: true,
    };
    let outcomes = vec![(4, Outcome::Nothing), (5, Outcome::Refused("{}".into()))];
    let item = RequestItem {
        sequence: 9,
        after: 8,
        method: "append".into(),
        args: "[1]".into(),
        attempts: 1,
        session: 7,
    };
    let operation = |request| Message::OperationRequest { term: 3, request_id: 1 << 32, request };
    let answer = |answer| Message::OperationReply { request_id: 1 << 32, answer };
    let chunk = Chunk {
        transfer: 7,
        term: 3,
        total: 10,
        checksum: 0xdead_beef,
        offset: 4,
        bytes: "image".into(),
        restores: true,
        overtaken: 2,
    };
    let mut messages = vec![
        Message::Discover {
            id: "a".into(),
            cluster_size: 3,
            version: "v".into(),
            application: application(),
            members_index: 300,
            may_vote: true,
        },
        Message::Accept(roster()),
        Message::ClusterAnnouncement(ClusterAnnouncement {
            cluster,
            ancestors: vec![Ancestor { cluster: ClusterUuid::of_epoch(cluster, incarnation(1)), kept: 300 }],
            cluster_size: 3,
            holds_actions: true,
            has_leader: false,
            application: Application::new(None, []),
            members_index: 300,
        }),
        Message::IdInUse { id: "a".into() },
        Message::Closing { leaves: true },
        Message::Requests(Requests { term: 3, start: 2, floor: 8, requests: vec![item] }),
        Message::Outcomes { term: 3, start: 2, index: 300, outcomes },
        Message::Received { term: 3, start: 2, sequence: 9 },
        Message::MemberInfo { version: "v".into(), application: application(), asks: true },
        Message::Removed { term: 3, cluster_size: 5 },
        Message::Chunk(chunk),
        Message::ChunkReceived { transfer: 7, bytes: 9, held: vec![(11, 13)] },
        operation(OperationRequest::Read),
        operation(OperationRequest::TransferLeadership { to: None }),
        operation(OperationRequest::TransferLeadership { to: Some("a".into()) }),
        operation(OperationRequest::Remove { members: vec![1, 300] }),
        operation(OperationRequest::Resize { cluster_size: 5, after: 300 }),
        answer(OperationReply::ReadIndex(300)),
        answer(OperationReply::UnknownMember),
        answer(OperationReply::NotAVoter),
        answer(OperationReply::LastVoter),
        Message::StateHash { index: 300, version: "v".into(), hash: [7; 16] },
        Message::Disagrees { index: 300, ours: [7; 16], theirs: [8; 16] },
        Message::Diverged { index: Some(300) },
        Message::Recover,
        Message::RecoveryVoteRequest { term: 3, index: 300 },
        Message::RecoveryVoteGranted,
        Message::RecoveryVoteRejected { term: 3, index: 300 },
        Message::AppProbe,
        Message::AppProbeReply,
        Message::Unreachable { members: vec![(1, 2)] },
        Message::Released,
        Message::OtherApplication { cluster, theirs: application() },
        Message::StartQuery { token: 300, known: Some(Start { number: 2, nonce: 3 }) },
        Message::StartReply { token: 300, last_index: 400 },
        Message::StartRefused { start: Start { number: 2, nonce: 3 }, why: Refused::Copy },
        Message::StartRefused { start: Start { number: 2, nonce: 3 }, why: Refused::Outdated },
        Message::SilenceQuery { milliseconds: 2_000, members: vec![1, 300] },
        Message::SilenceReply { members: vec![300] },
        Message::Wake,
    ];
    messages.extend(RAFT_KINDS.into_iter().map(|kind| Message::Raft(raft(kind))));
    messages
}

fn frame(message: &Message) -> Frame {
    let to = match message {
        Message::AppProbe => Receivers::All,
        Message::AppProbeReply => Receivers::Several([1, 300, u64::MAX].into()),
        _ => Receivers::One(incarnation(2)),
    };
    Frame {
        cluster: roster().uuid(),
        from: incarnation(1),
        start: started(),
        to,
        messages: vec![message.clone()],
    }
}

/// The place of a variant in the encoding. The compiler asks for a new one here, and the test for a message of it.
fn place(message: &Message) -> u8 {
    match message {
        Message::Discover { .. } => 0,
        Message::Accept(_) => 1,
        Message::ClusterAnnouncement(_) => 2,
        Message::IdInUse { .. } => 3,
        Message::Closing { .. } => 4,
        Message::Raft(_) => 5,
        Message::Requests(_) => 6,
        Message::Outcomes { .. } => 7,
        Message::Received { .. } => 8,
        Message::MemberInfo { .. } => 9,
        Message::Removed { .. } => 10,
        Message::Chunk(_) => 11,
        Message::ChunkReceived { .. } => 12,
        Message::OperationRequest { .. } => 13,
        Message::OperationReply { .. } => 14,
        Message::StateHash { .. } => 15,
        Message::Disagrees { .. } => 16,
        Message::Diverged { .. } => 17,
        Message::Recover => 18,
        Message::RecoveryVoteRequest { .. } => 19,
        Message::RecoveryVoteGranted => 20,
        Message::RecoveryVoteRejected { .. } => 21,
        Message::AppProbe => 22,
        Message::AppProbeReply => 23,
        Message::Unreachable { .. } => 24,
        Message::Released => 25,
        Message::OtherApplication { .. } => 26,
        Message::StartQuery { .. } => 27,
        Message::StartReply { .. } => 28,
        Message::StartRefused { .. } => 29,
        Message::SilenceQuery { .. } => 30,
        Message::SilenceReply { .. } => 31,
        Message::Wake => 32,
    }
}

const PLACES: u8 = 33;

fn request() -> Request {
    Request {
        id: RequestId { origin: incarnation(1).raft_id(), start: 2, sequence: 9 },
        floor: 8,
        observed: vec![(8, Outcome::Refused("{}".into()))],
    }
}

fn session_start() -> SessionStart {
    let (member, reason) = (incarnation(1).raft_id(), StartReason::Restarted);
    SessionStart { member, id: "a".into(), session: 1, process: 2, reason }
}

fn session_end() -> SessionEnd {
    SessionEnd { member: incarnation(1).raft_id(), id: "a".into(), session: 1, reason: EndReason::Silent }
}

fn timer_firing() -> TimerFiring {
    TimerFiring { name: "t".into(), number: 1, due: 1_600_000_000_000, next: Some(1_600_000_000_100) }
}

fn stamp() -> Stamp {
    let set = TimerChange::Set {
        name: "t".into(),
        due: 1_600_000_000_000,
        method: "m".into(),
        args: "[1]".into(),
        rule: "{}".into(),
    };
    Stamp { at: 1_600_000_000_000, timers: vec![set, TimerChange::Remove { name: "u".into() }] }
}

fn contexts() -> Vec<Context> {
    vec![
        Context::Request(request()),
        Context::Resize { cluster_size: 5, after: 300 },
        Context::Check,
        Context::Epoch {
            cluster: ClusterUuid::of_epoch(roster().uuid(), incarnation(1)),
            survivor: incarnation(1),
            id: "a".into(),
            missing: vec!["b".into()],
            kept: 300,
        },
        Context::Observed {
            origin: 1,
            start: 2,
            observed: vec![(8, Outcome::Nothing), (9, Outcome::Forgotten)],
        },
        Context::Started { starts: vec![(1, Start { number: 2, nonce: 3 })] },
        Context::System(SystemAction::SessionStarted(session_start())),
        Context::System(SystemAction::SessionEnded(session_end())),
        Context::System(SystemAction::TimerFired(timer_firing())),
    ]
}

fn admission() -> Admission {
    Admission { incarnation: incarnation(3), id: "c".into(), may_vote: false }
}

fn members() -> Members {
    let mut members = Members::found(&roster());
    members.become_new_incarnation(
        ClusterUuid::of_epoch(roster().uuid(), incarnation(1)),
        incarnation(1),
        "a".into(),
        300,
    );
    members.admit(incarnation(3), "c".into(), false);
    members.set_leaving(vec![incarnation(1).raft_id()]);
    members.resize(5, 0, 300);
    members.set_start(incarnation(3).raft_id(), Start { number: 2, nonce: 3 });
    members
}

fn snapshot() -> Snapshot {
    let mut snapshot = Snapshot::found(&roster());
    snapshot.position = Position { index: 300, term: 3 };
    snapshot.table.apply(&request(), &"\"x\"".into());
    snapshot.members = members();
    assert!(snapshot.coordination.presence.start(&session_start(), true));
    assert!(snapshot.coordination.presence.end(&session_end(), true));
    snapshot.coordination.clock.advance(stamp().at);
    stamp().timers.into_iter().for_each(|change| snapshot.coordination.timers.apply(change));
    snapshot.conf_state.voters_outgoing = snapshot.conf_state.voters.clone();
    snapshot.conf_state.learners = vec![77];
    snapshot.conf_state.auto_leave = true;
    snapshot.state = Some("[\"x\"]".into());
    snapshot
}

/// What is written, under its name.
pub fn written() -> Vec<(String, Bytes)> {
    let frames = messages().into_iter().enumerate();
    let contexts = contexts().into_iter().enumerate();
    let mut written: Vec<(String, Bytes)> =
        frames.map(|(number, message)| (format!("frame {number}"), frame(&message).encode())).collect();
    written.extend(contexts.map(|(n, context)| (format!("entry {n}"), context.encode().into())));
    let stamped = Context::Request(request()).encode_stamped(&stamp());
    written.push(("stamped".into(), stamped.into()));
    written.push(("admission".into(), admission().encode().into()));
    written.push(("founding snapshot".into(), Snapshot::found(&roster()).encode().image));
    written.push(("snapshot".into(), snapshot().encode().image));
    written
}

fn kept() -> Vec<(String, Bytes)> {
    let lines = include_str!("formats.txt").lines();
    let parse = |line: &str| {
        let (name, hex) = line.split_once(": ").expect("a line is a name and bytes");
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("bytes are written in hex");
        (name.to_string(), (0..hex.len()).step_by(2).map(byte).collect())
    };
    lines.map(parse).collect()
}

#[test]
fn formats_are_written_as_they_were() {
    assert_eq!(VERSION, 1, "another version has another file beside this one");
    if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
        let hex = |bytes: &Bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let lines =
            written().iter().map(|(name, bytes)| format!("{name}: {}\n", hex(bytes))).collect::<String>();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/raft/testing/formats.txt");
        return std::fs::write(path, lines).expect("the tree can be written");
    }
    let (written, kept) = (written(), kept());
    for (written, kept) in written.iter().zip(&kept) {
        assert_eq!(written, kept);
    }
    assert_eq!(written.len(), kept.len());
}

#[test]
fn formats_of_before_are_read() {
    let kept = kept();
    let of = |kind: &str| -> Vec<Bytes> {
        let kept =
            kept.iter().filter(|(name, _)| name.split_once(' ').map_or(&**name, |(first, _)| first) == kind);
        kept.map(|(_, bytes)| bytes.clone()).collect()
    };
    let frames: Vec<Frame> =
        of("frame").iter().map(|bytes| Frame::decode(bytes).expect("it is a frame")).collect();
    assert_eq!(frames, messages().iter().map(frame).collect::<Vec<_>>());
    let entries: Vec<Option<Context>> = of("entry").iter().map(Context::decode).collect();
    assert_eq!(entries, contexts().into_iter().map(Some).collect::<Vec<_>>());
    let stamped = Context::decode_stamped(&of("stamped")[0]);
    assert_eq!(stamped, Some((Context::Request(request()), stamp())));
    assert_eq!(Admission::decode(&of("admission")[0]), Some(admission()));
    for (bytes, expected) in
        [(&of("founding")[0], Snapshot::found(&roster())), (&of("snapshot")[0], snapshot())]
    {
        let read = Snapshot::decode(bytes).expect("it is an image");
        assert_eq!((read.position, read.conf_state), (expected.position, expected.conf_state));
        assert_eq!((read.members, read.table), (expected.members, expected.table));
        assert_eq!((read.coordination, read.state), (expected.coordination, expected.state));
    }
}

/// A position that moves would make one message of another.
#[test]
fn formats_have_the_system_actions_at_the_place_that_the_log_looks_for() {
    for context in contexts() {
        assert_eq!(
            Context::is_system(&context.encode()),
            matches!(context, Context::System(_)),
            "{context:?}"
        );
    }
}

#[test]
fn formats_have_every_message_at_its_place() {
    const PLACE_OFFSET: usize = 7 + 2 + 17 + 17 + 1 + 1 + 17 + 1;
    let mut seen = std::collections::BTreeSet::new();
    for message in messages() {
        let mut frame = frame(&message);
        (frame.start, frame.to) = (None, Receivers::One(incarnation(2)));
        assert_eq!(frame.encode()[PLACE_OFFSET], place(&message), "{message:?}");
        seen.insert(place(&message));
    }
    assert!(seen.into_iter().eq(0..PLACES), "a message is missing in `messages`");
}

#[test]
fn formats_of_another_version_are_refused_by_code_with_both_versions_once() {
    for theirs in [0, 2, 255] {
        let mut bytes = frame(&messages()[0]).encode().to_vec();
        bytes[2] = theirs;
        assert_eq!(Frame::decode(&bytes), Err(Malformed::OtherVersion(theirs)));
        let mut node = Node::new(Options::new("a", 3, [7; 32]), None);
        let mut warnings = Vec::new();
        for _ in 0..3 {
            node.handle(Input::Frame(bytes.clone().into()));
            while let Some(work) = node.poll() {
                if let Work::Deliver(batch) = work {
                    warnings.extend(batch.into_iter().filter_map(|delivery| match delivery {
                        Delivery::Warning(warning) => Some(warning),
                        _ => None,
                    }));
                    node.handle(Input::Answered(Answered::default()));
                }
            }
        }
        assert_eq!(warnings, [Warning::OtherVersion { theirs, ours: VERSION }]);
        assert_eq!(warnings[0].code(), "WARN_CONFLUX_OTHER_VERSION");
    }
}
