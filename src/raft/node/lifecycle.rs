//! Creates and drops the replica of a node: when a cluster is founded, joined, resumed or left, or continues as a
//! successor. Also ends the node.
//!
//! Part of `node.rs`.

use bytes::Bytes;

use super::Node;
use super::closing::Closing;
use super::outcomes;
use super::quarantine;
use super::quorum_recovery::{self, QuorumRecovery};
use super::replica::{Founding, Replica, ReportedRole};
use crate::error::Error;
use crate::raft::bootstrap::Event;
use crate::raft::consensus::entry::Context;
use crate::raft::events::{Delivery, Role, SnapshotRecord, StoredState, Warning};
use crate::raft::identity::{ClusterUuid, Incarnation};
use crate::raft::requests::Pending;
use crate::raft::snapshot::Snapshot;
use crate::raft::wire::message::Chunk;

impl Node {
    pub(super) fn apply_bootstrap_events(&mut self) {
        while let Some(event) = self.bootstrap.poll() {
            match event {
                Event::Join(incarnation) => self.output.join(incarnation),
                Event::Send(target, message) => self.output.send(target, message),
                Event::Founded { roster, campaign } => {
                    let me = self.bootstrap.me();
                    let (replica, write) =
                        Replica::found(&roster, campaign, me, &self.options, &mut self.rng);
                    self.replica = Some(replica);
                    self.output.persist(write);
                    self.operations.begin_catch_up(&mut self.output);
                }
                Event::NewIncarnation { why } => {
                    // A node that was in no cluster leaves nothing behind: another roster is tried, as at any start.
                    if self.replica.is_some() {
                        self.output.warn(Warning::StartingOver { why });
                    }
                    drop(self.leave_replica());
                }
                Event::Superseded { by, successor, kept } => {
                    if let Some(replica) = &mut self.replica {
                        let output = &mut self.output;
                        self.quorum_recovery.supersede(by, successor, kept, replica, output);
                        self.end_dispatched();
                    }
                }
                Event::LeftForSuccessor { former } => self.leave_for_successor(former),
                Event::ReturnedToFormer => self.return_to_former(),
                Event::Warn(warning) => self.output.warn(warning),
                Event::Fail(error) => self.fail(error),
            }
        }
    }

    /// This node is a new incarnation: for Raft its former one has crashed. The others may still commit what it had
    /// sent to a leader.
    fn leave_replica(&mut self) -> Option<Replica> {
        self.snapshot_transfers.drop_reception();
        (self.quorum_recovery, self.delayed_appends) = Default::default();
        let replica = self.replica.take();
        if replica.as_ref().is_some_and(|replica| replica.reported_role.leader.is_some()) {
            self.output.deliver(Delivery::Role { role: Role::Follower, term: 0, leader: None });
        }
        self.delivering.forget_indexes();
        self.operations.fall_behind(&mut self.output);
        self.end_dispatched();
        replica
    }

    /// Ends the calls that were sent to a leader of the former cluster: no outcome will arrive.
    fn end_dispatched(&mut self) {
        let session = &mut self.client_session;
        outcomes::fail_where(session, Pending::was_dispatched, &Error::Removed, &mut self.output);
        self.client_session.follow(0);
    }

    /// A node that restarts with its log.
    pub(super) fn resume_replica(&mut self, recovered: StoredState) {
        let Some(replica) = Replica::resume(recovered, &self.options, &mut self.rng) else {
            let cause = "its snapshot is not one of this version".into();
            let advice = "Move it away to start as a new member: the other nodes hold the data";
            return self.fail(Error::StorageDamaged { path: String::new(), cause, advice });
        };
        let record = replica.group.log().snapshot();
        let index = record.position.index;
        let state = Snapshot::decode(&record.image).and_then(|snapshot| snapshot.state);
        self.bootstrap.resized(replica.members.cluster_size());
        self.bootstrap.renamed(replica.cluster, replica.lineage().0);
        self.replica = Some(replica);
        self.restore(index, state);
        self.operations.begin_catch_up(&mut self.output);
    }

    /// A snapshot has arrived. It admits a newcomer to the cluster, and gives a member what its log or state lacks.
    pub(super) fn install(
        &mut self,
        from: Incarnation,
        cluster: ClusterUuid,
        chunk: &Chunk,
        snapshot: Snapshot,
        image: Bytes,
    ) {
        let me = self.bootstrap.me();
        let Some(replica) = &mut self.replica else {
            let cluster_size = snapshot.members.cluster_size();
            let state = snapshot.state.clone();
            let index = snapshot.position.index;
            let (mut replica, mut write) =
                Replica::start(snapshot, image, chunk.term, me, &self.options, &mut self.rng);
            // The snapshot may be older than the cluster's present name.
            replica.cluster = cluster;
            if let Some(record) = &mut write.replica {
                record.cluster = cluster;
            }
            replica.remember_peer(from);
            self.bootstrap.admitted(cluster, cluster_size);
            self.bootstrap.renamed(cluster, replica.lineage().0);
            self.replica = Some(replica);
            // The successor's image has arrived, and is on the disk before the former log is set aside.
            self.former = None;
            self.output.persist(write);
            self.restore(index, state);
            self.operations.begin_catch_up(&mut self.output);
            return;
        };
        if chunk.restores {
            let (index, state) = (snapshot.position.index, snapshot.state.clone());
            if quarantine::take_leaders_snapshot(snapshot, image, replica, &mut self.output) {
                self.restore_if_trusted(index, state);
            }
            return;
        }
        if replica.remember_peer(from) {
            let record = SnapshotRecord { position: snapshot.position, image };
            replica.group.step_snapshot(from.raft_id(), chunk.term, &record, &snapshot.conf_state);
        }
    }

    /// This node was removed, according to the log or the leader.
    pub(super) fn leave_cluster(&mut self, cluster_size: usize) {
        if self.closing.is_some() {
            self.end_closing();
        } else {
            self.bootstrap.start_over(cluster_size, "this node was removed from its cluster");
        }
    }

    /// The replica is put aside: the successor is to admit this node.
    fn leave_for_successor(&mut self, former: Incarnation) {
        self.seal_as(former);
        self.former = self.leave_replica();
        injected_bug!(DropsLogBeforeSuccessor, self.former = None);
        if let Some(former) = &mut self.former {
            former.step_down();
            former.snapshots.drop_pending();
        }
    }

    /// The successor is silent: this node returns to its former cluster and replica.
    fn return_to_former(&mut self) {
        let Some(mut replica) = self.former.take() else { return };
        // All members were silent to the incarnation that waited; only the holder of the vote should have sent something.
        let holder = replica.cast_vote.map(|cast_vote| cast_vote.recovery_vote.survivor.raft_id());
        let members = replica.members.iter().map(|(member, ..)| member);
        replica.liveness.resume(members.filter(|member| Some(*member) != holder));
        replica.reported_role = ReportedRole::NONE;
        self.bootstrap.renamed(replica.cluster, replica.lineage().0);
        self.operations.begin_catch_up(&mut self.output);
        quorum_recovery::send_vote(self.saved, &mut replica, &mut self.output);
        debug_assert!(replica.is_frozen(), "{} left for a successor", replica.me);
        self.replica = Some(replica);
    }

    /// Writes up to this number are durable: if the founding one is among them, the successor exists.
    pub(super) fn finish_founding(&mut self, number: u64) {
        let is_durable = |founding: &mut Founding| founding.write <= number;
        let founding = self.replica.as_mut().and_then(|replica| replica.founding.take_if(is_durable));
        let Some(founding) = founding else { return };
        // Earlier messages of this turn leave under the former name.
        self.seal_as(self.bootstrap.me());
        let Some(replica) = &mut self.replica else { return };
        replica.found_anew(founding, &self.options, &mut self.rng);
        self.bootstrap.renamed(replica.cluster, replica.lineage().0);
        self.quorum_recovery = QuorumRecovery::default();
    }

    /// Applies the entry that founded the successor.
    pub(super) fn apply_epoch(&mut self, index: u64, epoch: Context) {
        let Some(replica) = &mut self.replica else { return };
        let Context::Epoch { cluster, survivor, id, missing, kept } = epoch else { return };
        quorum_recovery::apply_epoch(index, cluster, (survivor, &id), kept, replica);
        self.bootstrap.renamed(replica.cluster, replica.lineage().0);
        if survivor == replica.me {
            self.output.warn(Warning::Recovered { cluster, from: id, missing });
            outcomes::settle_decided(&mut self.client_session, u64::MAX, &mut self.output);
        }
    }

    pub(super) fn close(&mut self, ticks_max: u64, leaves: bool) {
        if self.closing.is_none() {
            let closing = self.closing.insert(Closing::new(ticks_max, leaves));
            if self.replica.is_some() {
                closing.announce(&mut self.output);
            }
        }
    }

    pub(super) fn continue_closing(&mut self) {
        let Some(closing) = &mut self.closing else { return };
        let has_ended = self.client_session.is_empty() && !self.operations.has_calls();
        if closing.advance(has_ended, self.replica.as_mut(), &mut self.output) {
            self.end_closing();
        }
    }

    pub(super) fn end_closing(&mut self) {
        self.end_all(&Error::Closed);
        self.stop(None);
    }

    pub(super) fn stop(&mut self, error: Option<Error>) {
        if self.is_stopped {
            return;
        }
        self.is_stopped = true;
        self.output.deliver_all();
        self.flush();
        self.output.stop(error);
    }

    /// Fails: every call ends with this error, and the node stops.
    pub fn fail(&mut self, error: Error) {
        self.end_all(&error);
        self.stop(Some(error));
    }

    /// Every call and operation ends with this error.
    pub(super) fn end_all(&mut self, error: &Error) {
        outcomes::fail_all(&mut self.client_session, error, &mut self.output);
        self.operations.fail_all(error, &mut self.output);
    }

    /// Closes the frames: the messages so far leave from this incarnation, in the present cluster.
    pub(super) fn seal_as(&mut self, incarnation: Incarnation) {
        let cluster = self.replica.as_ref().map_or(ClusterUuid::NONE, |replica| replica.cluster);
        self.output.seal(cluster, incarnation, self.start_guard.started());
    }
}
