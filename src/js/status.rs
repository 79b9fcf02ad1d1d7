//! This file writes a node's status as the JSON text that `node.status()` parses.
//!
//! Called by `mod.rs`. Numbers are terms and indexes, which the core keeps below 2^53, so that each is exact in
//! JavaScript.

use serde_json::json;

use crate::raft::Status;

pub fn encode(status: &Status) -> String {
    let members: Vec<_> = status
        .members
        .iter()
        .map(|member| {
            json!({
                "id": &*member.id,
                "incarnation": member.incarnation.to_string(),
                "voter": member.is_voter,
                "active": member.is_active,
            })
        })
        .collect();
    json!({
        "id": &*status.id,
        "incarnation": status.incarnation.to_string(),
        "cluster": (!status.cluster.is_none()).then(|| status.cluster.to_string()),
        "role": status.role.as_str(),
        "term": status.term,
        "leader": status.leader.as_deref(),
        "commitIndex": status.commit_index,
        "appliedIndex": status.applied_index,
        "lastIndex": status.last_index,
        "members": members,
        "waitingFor": status.waiting_for.as_deref(),
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::status::Member;
    use crate::raft::{ClusterUuid, Incarnation, events::Role};

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
            pending: 0,
            waiting_for: Some("3 nodes".into()),
        };
        let json: serde_json::Value = serde_json::from_str(&encode(&status)).unwrap();
        assert_eq!((&json["cluster"], &json["leader"]), (&json!(null), &json!(null)));
        assert_eq!((&json["id"], &json["waitingFor"]), (&json!("a\"b"), &json!("3 nodes")));

        status.cluster = ClusterUuid::of_roster([me].into_iter());
        status.leader = Some("a\"b".into());
        status.role = Role::Leader;
        status.term = (1 << 53) - 1;
        status.members =
            [Member { id: "a\"b".into(), incarnation: me, is_voter: true, is_active: false }].into();
        let json: serde_json::Value = serde_json::from_str(&encode(&status)).unwrap();
        assert_eq!(json["cluster"], status.cluster.to_string());
        assert_eq!((&json["role"], &json["term"]), (&json!("leader"), &json!(9_007_199_254_740_991_u64)));
        assert_eq!(
            json["members"],
            json!([{ "id": "a\"b", "incarnation": me.to_string(), "voter": true, "active": false }])
        );
    }
}
