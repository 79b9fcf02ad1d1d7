// Makes what `node.status()` returns: the core's status, with what only the façade knows.
//
// Called by node.js.

'use strict'

/**
 * @param isAlive whether the node has not ended: afterwards its knowledge of the cluster is out of date.
 * @param reducedIndex up to here everything is in the state. The core learns it a moment later, and knows of entries after
 *   it that are no actions.
 */
function describeStatus(core, { state, failure, isAlive, pending, reducedIndex }) {
  const missing = isAlive ? core.missing : []
  return {
    id: core.id,
    incarnation: core.incarnation,
    state,
    failure: failure && { code: failure.code, message: failure.message },
    diverged: core.diverged,
    cluster: core.cluster,
    clusterSize: core.clusterSize,
    role: isAlive ? core.role : 'follower',
    leader: isAlive ? core.leader : null,
    term: core.term,
    commitIndex: core.commitIndex,
    appliedIndex: Math.max(core.appliedIndex, reducedIndex),
    lastIndex: core.lastIndex,
    snapshotIndex: core.snapshotIndex,
    quorum: { lost: missing.length > 0, missing },
    faultTolerance: isAlive ? core.faultTolerance : 0,
    members: core.members,
    session: isAlive ? core.session : null,
    sessions: core.sessions,
    pending,
    waitingFor: isAlive ? core.waitingFor : null,
    caughtUp: isAlive && core.caughtUp,
    hibernating: isAlive && core.hibernating,
    timers: core.timers,
    droppedFrames: core.droppedFrames
  }
}

module.exports = { describeStatus }
