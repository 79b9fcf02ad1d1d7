// The target of the core's deliveries: it passes each one on to the part of the node that it concerns.
//
// Made by node.js; called by `inbox.js` and `deliveries.js`, in the order of the deliveries. No exception of an
// application may leave a method of it: an exception that does is a bug, and ends this node, never the process.

'use strict'

const diagnostics = require('./diagnostics')
const { nextTick, queueMicrotask } = require('./environment')
const errors = require('./errors')
const { decodeError } = require('./evaluation')

class DeliveryTarget {
  /** Evaluates for the core, on the leader. */
  evaluations
  #node
  #handle
  #id
  #native
  #waitingFor
  #replicatedState
  #calls
  #operations
  #ready
  #events
  #membership
  #leaderWork
  #voterCheck
  #continueReading

  #role = 'follower'
  #term = 0
  #leader = null
  #isCaughtUp = false
  /** Calls that ended with a failure of this node, with their outcomes: they are rejected when it has stopped. */
  #lost = []
  /** The core has ended each call that it received: the other calls have not left this node. */
  #hasSettled = false
  /** The batch held an action of this node. */
  #hasPerformed = false
  #afterMicrotasks = () => nextTick(turnOver, this)

  /**
   * @param node what ends with the core: `hasEnded`, `fault(error)`, `stopped(code, message)`.
   * @param parts those of the node; `core` and `waitingFor` return what they are at the time, and `continueReading` goes
   * on with the batch that restores a state.
   */
  constructor(node, parts) {
    this.#node = node
    this.#id = parts.id
    this.#handle = parts.handle
    this.#native = parts.core
    this.#waitingFor = parts.waitingFor
    this.evaluations = parts.evaluations
    this.#replicatedState = parts.replicatedState
    this.#calls = parts.calls
    this.#operations = parts.operations
    this.#ready = parts.ready
    this.#events = parts.events
    this.#membership = parts.membership
    this.#leaderWork = parts.leaderWork
    this.#voterCheck = parts.voterCheck
    this.#continueReading = parts.continueReading
  }

  get hasEnded() {
    return this.#node.hasEnded
  }

  /** A batch is done. */
  answered(evaluationMicros) {
    const { text, at, beside } = this.evaluations.take()
    this.#native().answered(text, evaluationMicros, at, beside.length > 0 ? beside : undefined)
    this.#membership.check()
    if (this.#hasPerformed) this.#awaitTurn()
  }

  /** A batch is under way. */
  progressed(reducedIndex) {
    this.#native().progressed(reducedIndex)
  }

  fault(error) {
    this.#node.fault(error)
  }

  /** A leader's core delays its commit updates for the calls that callers make in response to them. */
  #awaitTurn() {
    this.#hasPerformed = false
    // After the microtasks of the callers, and after the flush of their new calls.
    if (this.#role === 'leader') nextTick(queueMicrotask, this.#afterMicrotasks)
  }

  turnOver() {
    if (!this.hasEnded) this.#native().turnOver()
  }

  role(role, term, leader) {
    if (role !== 'leader' || term !== this.#term) this.#replicatedState.dropProvisional()
    if (role !== 'leader') this.evaluations.nextTimer(null)
    const isNewRole = role !== this.#role
    const isNewLeader = leader !== this.#leader
    const isNewTerm = term !== this.#term
    this.#role = role
    this.#term = term
    this.#leader = leader
    this.#tellReady()
    if ((isNewRole || isNewLeader || isNewTerm) && diagnostics.election.hasSubscribers) {
      diagnostics.election.publish({ node: this.#handle, id: this.#id, role, term, leader })
    }
    this.#membership.check()
    this.#leaderWork.role(role, term)
    if (isNewRole) this.#events.emit('role', role)
    if (isNewLeader) this.#events.emit('leader', leader)
  }

  #tellReady() {
    if (this.#leader !== null && this.#replicatedState.isReplayed && this.#isCaughtUp) {
      this.#ready.resolve()
      this.#voterCheck.check()
    } else {
      this.#ready.reset()
    }
  }

  caughtUp(isCaughtUp) {
    this.#isCaughtUp = isCaughtUp
    this.evaluations.caughtUp(isCaughtUp)
    this.#tellReady()
  }

  ownSession(session, previous, reason) {
    this.#events.emit('session', { session, previous, reason })
  }

  takeSnapshot(index) {
    this.#replicatedState.take(index)
  }

  /** Returns whether the state is restored; if not, reading goes on when it is. */
  restore(index, position) {
    return this.#replicatedState.restore(
      index,
      () => this.#native().statePiece(position),
      () => this.#native().progressed(0),
      this.#continueReading
    )
  }

  hash(index) {
    this.#replicatedState.hash(index)
  }

  replayed() {
    this.#replicatedState.replayed()
    this.#tellReady()
  }

  performed(sequence, action, isReduced) {
    this.#hasPerformed = true
    if (isReduced) this.#calls.resolve(sequence, action)
    else this.#calls.reject(sequence, errors.notApplied(this.#replicatedState.applyError))
  }

  resolve(sequence, action) {
    this.#calls.resolve(sequence, action)
  }

  refused(sequence, data) {
    this.#calls.refuse(sequence, decodeError(data), this.#leader)
  }

  failed(sequence, code, message, outcome) {
    // The node stops next, with this error: the callers are rejected then, and find the node failed.
    if (errors.isOfNode(code)) this.#lost.push([sequence, outcome])
    else this.#calls.reject(sequence, errors.core(code, message, { outcome }))
  }

  operationDone(ticket) {
    this.#operations.done(ticket)
  }

  operationFailed(ticket, code, message) {
    if (errors.isOfNode(code)) return
    const facts = code === 'ERR_CONFLUX_NO_QUORUM' ? { waitingFor: this.#waitingFor() } : undefined
    this.#operations.failed(ticket, errors.core(code, message, facts))
  }

  warning(code, message, facts) {
    this.#events.warn(code, message, facts)
  }

  diverged(code, message, index) {
    const { applyError } = this.#replicatedState
    this.#events.diverged(errors.core(code, message, applyError?.index === index ? applyError : { index }))
  }

  restored() {
    this.#events.restored()
  }

  stopped(code, message) {
    this.#hasSettled = code !== 'ERR_CONFLUX_PANIC'
    this.#node.stopped(code, message)
  }

  /** The node has ended, and with it every call. `endedError(outcome)` makes the error of one. */
  rejectCalls(endedError) {
    for (const [sequence, outcome] of this.#lost) this.#calls.reject(sequence, endedError(outcome))
    this.#calls.rejectAll(outcome => endedError(this.#hasSettled ? 'not-applied' : outcome))
  }
}

// For ticks, so that they need no closure.
function turnOver(target) {
  target.turnOver()
}

module.exports = { DeliveryTarget }
