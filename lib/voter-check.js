// Finds that a node with storage has restarted with another option `voter` than the one that its cluster remembers.
//
// Called by delivery-target.js when the node has caught up: then its members include itself.

'use strict'

class VoterCheck {
  #isDue
  #voter
  #coreStatus
  #events

  /** @param coreStatus returns the status of the core. */
  constructor({ storage, voter }, coreStatus, events) {
    // Without storage, each start is a new member.
    this.#isDue = storage !== undefined
    this.#voter = voter
    this.#coreStatus = coreStatus
    this.#events = events
  }

  /** Warns once, if there is a reason. */
  check() {
    if (!this.#isDue) return
    this.#isDue = false
    const { id, incarnation, members } = this.#coreStatus()
    const own = members.find(member => member.incarnation === incarnation)
    if (own === undefined || own.mayVote === this.#voter) return
    const message =
      `the option \`voter\` of this node is ${this.#voter}, but the cluster admitted it with ${own.mayVote}, and that ` +
      `counts: to change it, call \`remove("${id}")\` on another node; this node joins again with its option`
    this.#events.warn('WARN_CONFLUX_VOTER_IGNORED', message, { voter: this.#voter, admitted: own.mayVote })
  }
}

module.exports = { VoterCheck }
