//! Encodes a node's status as the JSON text that `node.status()` parses.
//!
//! Called by `mod.rs`. Numbers are terms and indexes, which the core keeps below 2^53, so that each is exact in
//! JavaScript.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::channel::sealed::{Refusal, Security};
use crate::raft::events::FrameRefusal;
use crate::raft::status::IgnoredFrames;
use crate::raft::{Incarnation, Status};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Json<'a> {
    id: &'a str,
    incarnation: String,
    cluster: Option<String>,
    role: &'static str,
    leader: Option<&'a str>,
    term: u64,
    commit_index: u64,
    applied_index: u64,
    last_index: u64,
    cluster_size: usize,
    snapshot_index: u64,
    diverged: Option<&'a str>,
    /// The voters that are missing for a quorum; empty while there is one.
    missing: Vec<JsonMissing<'a>>,
    members: Vec<JsonMember<'a>>,
    fault_tolerance: usize,
    waiting_for: Option<String>,
    caught_up: bool,
    session: Option<u64>,
    sessions: Vec<JsonSession<'a>>,
    hibernating: bool,
    recoveries: u64,
    timers: JsonTimers,
    dropped_frames: JsonDroppedFrames,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonMember<'a> {
    id: &'a str,
    incarnation: String,
    voter: bool,
    may_vote: bool,
    active: bool,
    version: Option<&'a str>,
    matched_index: Option<u64>,
    /// The name of the key with which it seals.
    key_id: Option<Arc<str>>,
}

#[derive(Serialize)]
struct JsonSession<'a> {
    id: &'a str,
    session: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonMissing<'a> {
    id: &'a str,
    /// Milliseconds.
    silent_ms: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonTimers {
    count: usize,
    next_due: Option<u64>,
}

/// Frames that had no effect, by reason.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonDroppedFrames {
    unsealed: u64,
    sealed: u64,
    unknown_key: u64,
    forged: u64,
    replayed: u64,
    misdirected: u64,
    malformed: u64,
    other_version: u64,
}

impl JsonDroppedFrames {
    fn new(security: &Security, ignored: IgnoredFrames) -> Self {
        let [unsealed, sealed, unknown_key, forged, replayed, misdirected, malformed, other_version] =
            Refusal::ALL.map(|refusal| security.refused(refusal));
        Self {
            unsealed,
            sealed,
            unknown_key,
            forged,
            replayed,
            misdirected,
            malformed: malformed + ignored.malformed,
            other_version: other_version + ignored.other_version,
        }
    }
}

pub fn encode(status: &Status, tick: Duration, security: &Security) -> String {
    let key_id = |member: Incarnation| match member == status.incarnation {
        true => security.own_key(),
        false => security.key_of(member),
    };
    let members = status.members.iter().map(|member| JsonMember {
        id: &member.id,
        incarnation: member.incarnation.to_string(),
        voter: member.is_voter,
        may_vote: member.may_vote,
        active: member.is_active,
        version: member.version.as_deref(),
        matched_index: member.matched,
        key_id: key_id(member.incarnation),
    });
    let missing = status
        .missing
        .iter()
        .map(|(id, ticks)| JsonMissing { id, silent_ms: ticks.saturating_mul(tick.as_millis() as u64) });
    let json = Json {
        id: &status.id,
        incarnation: status.incarnation.to_string(),
        cluster: (!status.cluster.is_none()).then(|| status.cluster.to_string()),
        role: status.role.as_str(),
        leader: status.leader.as_deref(),
        term: status.term,
        commit_index: status.commit_index,
        applied_index: status.applied_index,
        last_index: status.last_index,
        cluster_size: status.cluster_size,
        snapshot_index: status.snapshot_index,
        diverged: status.diverged.as_deref(),
        missing: missing.collect(),
        members: members.collect(),
        fault_tolerance: status.fault_tolerance,
        waiting_for: status.waiting_for.as_deref().map(|what| waiting_for(what, security)),
        caught_up: status.is_caught_up,
        session: status.session,
        sessions: status.sessions.iter().map(|(id, session)| JsonSession { id, session: *session }).collect(),
        hibernating: status.is_hibernating,
        recoveries: status.recoveries,
        timers: JsonTimers { count: status.timers, next_due: status.next_timer },
        dropped_frames: JsonDroppedFrames::new(security, status.ignored_frames),
    };
    serde_json::to_string(&json).expect("a status is plain data: encoding it cannot fail")
}

/// What a node is waiting for, with the reason if it and others have different secrets.
fn waiting_for(what: &str, security: &Security) -> String {
    let refusal = match security.mismatch() {
        Some(Refusal::Unsealed) => FrameRefusal::Unsealed,
        Some(Refusal::Sealed) => FrameRefusal::Sealed,
        Some(Refusal::UnknownKey) => FrameRefusal::UnknownKey,
        Some(_) | None => return what.to_string(),
    };
    format!("{what}; {refusal}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::channel::sealed::Secret;
    use crate::raft::status::Member;
    use crate::raft::{ClusterUuid, events::Role};

    const TICK: Duration = Duration::from_millis(10);

    #[test]
    fn a_status_is_an_object_of_plain_values() {
        let me = Incarnation::from_u128(7);
        let mut status = Status {
            id: "a\"b".into(),
            incarnation: me,
            cluster: ClusterUuid::NONE,
            role: Role::Follower,
            term: 0,
            leader: None,
            commit_index: 0,
            applied_index: 0,
            last_index: 0,
            members: [].into(),
            cluster_size: 3,
            snapshot_index: 0,
            diverged: None,
            missing: [].into(),
            fault_tolerance: 1,
            pending: 0,
            waiting_for: Some("3 nodes".into()),
            is_caught_up: false,
            sessions: [("a".into(), 4)].into(),
            session: Some(4),
            is_hibernating: true,
            recoveries: 1,
            ignored_frames: IgnoredFrames { malformed: 3, other_version: 4 },
            timers: 2,
            next_timer: Some(9),
        };
        let secret = Secret { id: Some("k".into()), secret: "a secret".into() };
        let security = Security::new("c", &[secret]);
        let encode = |status: &Status| encode(status, TICK, &security);
        let json: serde_json::Value = serde_json::from_str(&encode(&status)).unwrap();
        assert_eq!(json["timers"], json!({ "count": 2, "nextDue": 9 }));
        assert_eq!((&json["cluster"], &json["leader"]), (&json!(null), &json!(null)));
        assert_eq!((&json["id"], &json["waitingFor"]), (&json!("a\"b"), &json!("3 nodes")));
        assert_eq!((&json["session"], &json["recoveries"]), (&json!(4), &json!(1)));
        assert_eq!(json["hibernating"], json!(true));
        assert_eq!(json["sessions"], json!([{ "id": "a", "session": 4 }]));

        status.cluster = ClusterUuid::of_roster([me].into_iter());
        status.leader = Some("a\"b".into());
        status.role = Role::Leader;
        status.term = (1 << 53) - 1;
        status.snapshot_index = 7;
        status.diverged = Some("why".into());
        status.missing = [("c".into(), 12)].into();
        status.members = [Member {
            id: "a\"b".into(),
            incarnation: me,
            is_voter: true,
            may_vote: true,
            is_active: false,
            version: Some("2".into()),
            matched: Some(9),
        }]
        .into();
        let json: serde_json::Value = serde_json::from_str(&encode(&status)).unwrap();
        assert_eq!(json["cluster"], status.cluster.to_string());
        assert_eq!((&json["role"], &json["term"]), (&json!("leader"), &json!(9_007_199_254_740_991_u64)));
        assert_eq!(
            json["members"],
            json!([{
                "id": "a\"b", "incarnation": me.to_string(), "voter": true, "mayVote": true, "active": false,
                "version": "2", "matchedIndex": 9, "keyId": "k",
            }])
        );
        let dropped = &json["droppedFrames"];
        assert_eq!((&dropped["malformed"], &dropped["otherVersion"]), (&json!(3), &json!(4)));
        assert_eq!((&json["clusterSize"], &json["snapshotIndex"]), (&json!(3), &json!(7)));
        assert_eq!(
            (&json["diverged"], &json["missing"]),
            (&json!("why"), &json!([{ "id": "c", "silentMs": 120 }]))
        );
    }
}
