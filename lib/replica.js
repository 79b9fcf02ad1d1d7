// This file is the application's state on one node: what changes it, who is told, and what is kept of it.
//
// Called by node.js, and by `deliveries.js` for each delivery that is about the state. It knows nothing of the core but
// that it is to be told of an obstacle.

'use strict'

const errors = require('./errors')
const { Commits } = require('./commits')
const { evaluate, refuse } = require('./evaluation')
const { Selections } = require('./selections')
const snapshot = require('./snapshot')
const { Store } = require('./store')
const { Subscribers } = require('./subscribers')

const EXCERPT_LENGTH_MAX = 200

class Replica {
  /** They are told of every new state. */
  subscribers = new Subscribers()
  /** Listeners for a part of the state; each is called when its part differs. */
  selections = new Selections(() => (this.#isReplayed ? this.#store.committed : undefined))
  /** Iterators over the committed actions. */
  commits
  /** Up to here everything is in the state. */
  #reducedIndex = 0
  #application
  #store
  /** Before, the state is one that an earlier process has already left behind. */
  #isReplayed
  /** The committed action or snapshot that the state cannot follow: `{ index, action, cause }`, until one is restored. */
  #obstacle = null
  #onObstacle
  #onRestored

  /**
   * Throws if the reducer has no initial state.
   *
   * @param readLog gives the committed actions between two indexes, as the core's `commits`.
   * @param onObstacle called with an index and a sentence: what is committed there cannot be reduced on this node.
   * @param onRestored called with an index and a number of characters: the state is that of a snapshot.
   */
  constructor(application, { isReplayed, readLog }, onObstacle, onRestored) {
    this.commits = new Commits(() => this.#reducedIndex, readLog)
    this.#application = application
    this.#store = new Store(application)
    this.#isReplayed = isReplayed
    this.#onObstacle = onObstacle
    this.#onRestored = onRestored
  }

  // What the application sees.

  /** The state as all nodes know it; throws before it is replayed, likewise below. */
  get committed() {
    return this.#readable().committed
  }

  /** With the uncommitted actions of a leader on top. */
  get provisional() {
    return this.#readable().newest
  }

  #readable() {
    if (!this.#isReplayed) throw errors.notReplayed()
    return this.#store
  }

  get isReplayed() {
    return this.#isReplayed
  }

  // What the core orders.

  /** The answer to a perform. */
  evaluate(call, onThrown) {
    // Nothing is evaluated on a state that lacks a committed action. The core drops this answer.
    if (this.#obstacle !== null) return refuse(this.#obstacle.cause)
    return evaluate(this.#application, this.#store, call, onThrown)
  }

  /** The action of the oldest provisional state is committed. Returns whether the state contains it, likewise below. */
  commitOldest(index) {
    if (this.#obstacle !== null) return false
    const action = this.#store.commitOldest()
    this.#notify(index, action)
    return true
  }

  commit(index, action) {
    if (this.#obstacle !== null) return false
    try {
      this.#store.commit(action)
    } catch (cause) {
      this.#stall({ index, action, cause }, `the reducer threw on the action ${textOf(action)}`)
      return false
    }
    this.#notify(index, action)
    return true
  }

  dropProvisional() {
    this.#store.dropProvisional()
  }

  /** The state becomes that of a snapshot. `text` is null if it arrived as something else than text. */
  restore(index, text) {
    if (!this.#restore(index, () => snapshot.read(this.#application, text))) return
    this.#onRestored(index, text.length)
  }

  restoreInitial(index) {
    this.#restore(index, () => this.#application.initialState())
  }

  /** Returns whether it could be read. */
  #restore(index, read) {
    let state
    try {
      state = read()
    } catch (cause) {
      this.#stall({ index, action: undefined, cause }, 'the snapshot there cannot be read')
      return false
    }
    this.#obstacle = null
    this.#store.restore(state)
    this.#notify(index)
    return true
  }

  /** The last good state stays; what follows the obstacle is not reduced. */
  #stall(obstacle, what) {
    this.#obstacle = obstacle
    this.#store.dropProvisional()
    this.#onObstacle(obstacle.index, `${what}: ${excerpt(errors.messageOf(obstacle.cause))}`)
  }

  get obstacle() {
    return this.#obstacle
  }

  /** `{ text, why, micros }`, as `snapshot.take` says. */
  take() {
    if (this.#obstacle !== null) {
      return { text: null, why: `the state ends before index ${this.#obstacle.index}`, micros: 0 }
    }
    return snapshot.take(this.#application, this.#store.committed)
  }

  replayed() {
    this.#isReplayed = true
    this.#notify(this.#reducedIndex)
  }

  /**
   * A listener would read what is not to be read before the replay is done; then it is told once.
   *
   * @param action undefined if the state was restored, and not reduced.
   */
  #notify(index, action) {
    this.#reducedIndex = index
    if (!this.#isReplayed) return
    this.subscribers.notify(index, action)
    this.selections.notify()
    this.commits.notify(index, action)
  }
}

/** The reducer had the action before: it may have put anything into it. */
function textOf(action) {
  try {
    return excerpt(JSON.stringify(action))
  } catch (error) {
    return `that is not JSON any more (${excerpt(errors.messageOf(error))})`
  }
}

/** So much as another message may hold. */
function excerpt(text) {
  return text.length <= EXCERPT_LENGTH_MAX ? text : `${text.slice(0, EXCERPT_LENGTH_MAX)}…`
}

module.exports = { Replica }
