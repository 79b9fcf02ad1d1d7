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
use crate::raft::wire::frame::{Frame, Malformed, Receivers, Started, VERSION};
use crate::raft::wire::items::{RequestItem, WireEntry};
use crate::raft::wire::message::{
    Ancestor, BootstrapMessage, Chunk, ClusterAnnouncement, DivergenceMessage, LivenessMessage,
    MembershipMessage, Message, OperationMessage, OperationReply, OperationRequest, Outcome, RaftKind,
    RaftMessage, RecoveryMessage, Refused, Requests, Roster, SnapshotMessage, StartMessage,
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
    let operation = |request| OperationMessage::Request { term: 3, request_id: 1 << 32, request }.into();
    let answer = |answer| OperationMessage::Reply { request_id: 1 << 32, answer }.into();
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
        BootstrapMessage::Discover {
            id: "a".into(),
            cluster_size: 3,
            version: "v".into(),
            application: application(),
            members_index: 300,
            may_vote: true,
        }
        .into(),
        BootstrapMessage::Accept(roster()).into(),
        BootstrapMessage::ClusterAnnouncement(ClusterAnnouncement {
            cluster,
            ancestors: vec![Ancestor { cluster: ClusterUuid::of_epoch(cluster, incarnation(1)), kept: 300 }],
            cluster_size: 3,
            holds_actions: true,
            has_leader: false,
            application: Application::new(None, []),
            members_index: 300,
        })
        .into(),
        BootstrapMessage::IdInUse { id: "a".into() }.into(),
        MembershipMessage::Closing { leaves: true }.into(),
        Message::Requests(Requests { term: 3, start: 2, floor: 8, requests: vec![item] }),
        Message::Outcomes { term: 3, start: 2, index: 300, outcomes },
        Message::Received { term: 3, start: 2, sequence: 9 },
        MembershipMessage::MemberInfo { version: "v".into(), application: application(), asks: true }.into(),
        MembershipMessage::Removed { term: 3, cluster_size: 5 }.into(),
        SnapshotMessage::Chunk(chunk).into(),
        SnapshotMessage::ChunkReceived { transfer: 7, bytes: 9, held: vec![(11, 13)] }.into(),
        operation(OperationRequest::Read),
        operation(OperationRequest::TransferLeadership { to: None }),
        operation(OperationRequest::TransferLeadership { to: Some("a".into()) }),
        operation(OperationRequest::Remove { members: vec![1, 300] }),
        operation(OperationRequest::Resize { cluster_size: 5, after: 300 }),
        answer(OperationReply::ReadIndex(300)),
        answer(OperationReply::UnknownMember),
        answer(OperationReply::NotAVoter),
        answer(OperationReply::LastVoter),
        DivergenceMessage::StateHash { index: 300, version: "v".into(), hash: [7; 16] }.into(),
        DivergenceMessage::Disagrees { index: 300, ours: [7; 16], theirs: [8; 16] }.into(),
        DivergenceMessage::Diverged { index: Some(300) }.into(),
        RecoveryMessage::Recover.into(),
        RecoveryMessage::VoteRequest { term: 3, index: 300 }.into(),
        RecoveryMessage::VoteGranted.into(),
        RecoveryMessage::VoteRejected { term: 3, index: 300 }.into(),
        LivenessMessage::AppProbe.into(),
        LivenessMessage::AppProbeReply.into(),
        LivenessMessage::Unreachable { members: vec![(1, 2)] }.into(),
        RecoveryMessage::Released.into(),
        BootstrapMessage::OtherApplication { cluster, theirs: application() }.into(),
        StartMessage::Query { token: 300, known: Some(Start { number: 2, nonce: 3 }) }.into(),
        StartMessage::Reply { token: 300, last_index: 400 }.into(),
        StartMessage::Refused { start: Start { number: 2, nonce: 3 }, why: Refused::Copy }.into(),
        StartMessage::Refused { start: Start { number: 2, nonce: 3 }, why: Refused::Outdated }.into(),
        LivenessMessage::SilenceQuery { milliseconds: 2_000, members: vec![1, 300] }.into(),
        LivenessMessage::SilenceReply { members: vec![300] }.into(),
        LivenessMessage::Wake.into(),
    ];
    messages.extend(RAFT_KINDS.into_iter().map(|kind| Message::Raft(raft(kind))));
    messages
}

fn frame(message: &Message) -> Frame {
    let to = match message {
        Message::Liveness(LivenessMessage::AppProbe) => Receivers::All,
        Message::Liveness(LivenessMessage::AppProbeReply) => Receivers::Several([1, 300, u64::MAX].into()),
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

/// The place of a variant in the encoding, and the one in its group. The compiler asks for a new one here, and the test
/// for a message of it.
fn place(message: &Message) -> (u8, Option<u8>) {
    let in_bootstrap = |message: &BootstrapMessage| match message {
        BootstrapMessage::Discover { .. } => 0,
        BootstrapMessage::Accept(_) => 1,
        BootstrapMessage::ClusterAnnouncement(_) => 2,
        BootstrapMessage::IdInUse { .. } => 3,
        BootstrapMessage::OtherApplication { .. } => 4,
    };
    let in_start = |message: &StartMessage| match message {
        StartMessage::Query { .. } => 0,
        StartMessage::Reply { .. } => 1,
        StartMessage::Refused { .. } => 2,
    };
    let in_membership = |message: &MembershipMessage| match message {
        MembershipMessage::MemberInfo { .. } => 0,
        MembershipMessage::Closing { .. } => 1,
        MembershipMessage::Removed { .. } => 2,
    };
    let in_snapshot = |message: &SnapshotMessage| match message {
        SnapshotMessage::Chunk(_) => 0,
        SnapshotMessage::ChunkReceived { .. } => 1,
    };
    let in_operation = |message: &OperationMessage| match message {
        OperationMessage::Request { .. } => 0,
        OperationMessage::Reply { .. } => 1,
    };
    let in_divergence = |message: &DivergenceMessage| match message {
        DivergenceMessage::StateHash { .. } => 0,
        DivergenceMessage::Disagrees { .. } => 1,
        DivergenceMessage::Diverged { .. } => 2,
    };
    let in_recovery = |message: &RecoveryMessage| match message {
        RecoveryMessage::Recover => 0,
        RecoveryMessage::VoteRequest { .. } => 1,
        RecoveryMessage::VoteGranted => 2,
        RecoveryMessage::VoteRejected { .. } => 3,
        RecoveryMessage::Released => 4,
    };
    let in_liveness = |message: &LivenessMessage| match message {
        LivenessMessage::AppProbe => 0,
        LivenessMessage::AppProbeReply => 1,
        LivenessMessage::Unreachable { .. } => 2,
        LivenessMessage::SilenceQuery { .. } => 3,
        LivenessMessage::SilenceReply { .. } => 4,
        LivenessMessage::Wake => 5,
    };
    match message {
        Message::Raft(_) => (0, None),
        Message::Requests(_) => (1, None),
        Message::Outcomes { .. } => (2, None),
        Message::Received { .. } => (3, None),
        Message::Bootstrap(message) => (4, Some(in_bootstrap(message))),
        Message::Start(message) => (5, Some(in_start(message))),
        Message::Membership(message) => (6, Some(in_membership(message))),
        Message::Snapshot(message) => (7, Some(in_snapshot(message))),
        Message::Operation(message) => (8, Some(in_operation(message))),
        Message::Divergence(message) => (9, Some(in_divergence(message))),
        Message::Recovery(message) => (10, Some(in_recovery(message))),
        Message::Liveness(message) => (11, Some(in_liveness(message))),
    }
}

/// How many messages stand at each place: a group has several.
const PLACES: [u8; 12] = [1, 1, 1, 1, 5, 3, 3, 2, 2, 3, 5, 6];

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
    let stamped = Context::Request(request()).append_stamped_to(Vec::new(), &stamp());
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
        let (place, place_in_group) = place(&message);
        let bytes = frame.encode();
        assert_eq!(bytes[PLACE_OFFSET], place, "{message:?}");
        if let Some(place_in_group) = place_in_group {
            assert_eq!(bytes[PLACE_OFFSET + 1], place_in_group, "{message:?}");
        }
        seen.insert((place, place_in_group.unwrap_or(0)));
    }
    let places = (0..).zip(PLACES).flat_map(|(place, count)| (0..count).map(move |number| (place, number)));
    assert!(seen.into_iter().eq(places), "a message is missing in `messages`");
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
