// The application's state on one node: applies deliveries to it, notifies subscribers, and makes its snapshots.
//
// Called by node.js, and by `deliveries.js` for each delivery about the state. It reports errors by a callback and
// knows nothing else about the core.

'use strict'

const errors = require('./errors')
const { Commits } = require('./commits')
const { evaluate, evaluateSystem, evaluateTimer, refuse } = require('./evaluation')
const { Selections } = require('./selections')
const snapshot = require('./snapshot')
const { Store } = require('./store')
const { Subscribers } = require('./subscribers')

const EXCERPT_LENGTH_MAX = 200

class ReplicatedState {
  /** Called after every new state. */
  subscribers = new Subscribers()
  /** Listeners for a part of the state; each is called when its part differs. */
  selections = new Selections(() => (this.#isReplayed ? this.#store.committed : undefined))
  /** Iterators over the committed actions. */
  commits
  /** The time of the commits that follow; 0: they have none. */
  at = 0
  /** Up to here everything is in the state. */
  #reducedIndex = 0
  #application
  #store
  /** Until then, the state is older than the one that an earlier process had. */
  #isReplayed
  /** The committed action or snapshot that the state cannot follow: `{ index, action, cause }`, until one is restored. */
  #applyError = null
  #onApplyError
  #onRestored

  /**
   * Throws if the reducer has no initial state.
   *
   * @param readLog gives the committed actions between two indexes, as the core's `commits`.
   * @param onApplyError called with an index and a sentence: what is committed there cannot be reduced on this node.
   * @param onRestored called with an index and a number of characters: the state is that of a snapshot.
   */
  constructor(application, { isReplayed, readLog }, onApplyError, onRestored) {
    this.commits = new Commits(() => this.#reducedIndex, readLog)
    this.#application = application
    this.#store = new Store(application)
    this.#isReplayed = isReplayed
    this.#onApplyError = onApplyError
    this.#onRestored = onRestored
  }

  // For the application.

  /** The state as all nodes know it; throws before it is replayed, likewise below. */
  get committed() {
    return this.#readable().committed
  }

  /** With the uncommitted actions of a leader. */
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

  // For the core.

  /** The answer to a call. */
  evaluate(call, onThrown) {
    // Nothing is evaluated on a state that lacks a committed action. The core drops this answer.
    if (this.#applyError !== null) return refuse(this.#applyError.cause)
    return evaluate(this.#application, this.#store, call, onThrown)
  }

  /** The answer to a timer. */
  evaluateTimer(call, next, onThrown, onFailed) {
    if (this.#applyError !== null) return refuse(this.#applyError.cause)
    return evaluateTimer(this.#application, this.#store, call, next, onThrown, onFailed)
  }

  /** The answer to an action that no call made. */
  evaluateSystem(action, onThrown) {
    if (this.#applyError !== null) return refuse(this.#applyError.cause)
    return evaluateSystem(this.#store, action, onThrown)
  }

  /** The action of the oldest provisional state is committed. Returns whether the state contains it, likewise below. */
  commitOldest(index) {
    if (this.#applyError !== null) return false
    const action = this.#store.commitOldest()
    this.#notify(index, action)
    return true
  }

  commit(index, action) {
    if (this.#applyError !== null) return false
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
      this.#stall({ index, action: undefined, cause }, 'the snapshot at that index cannot be read')
      return false
    }
    this.#applyError = null
    this.#store.restore(state)
    this.#notify(index)
    return true
  }

  /** The last good state stays; what follows the error is not reduced. */
  #stall(applyError, what) {
    this.#applyError = applyError
    this.#store.dropProvisional()
    this.#onApplyError(applyError.index, `${what}: ${excerpt(errors.messageOf(applyError.cause))}`)
  }

  get applyError() {
    return this.#applyError
  }

  /** `{ text, why, micros }`, as `snapshot.take` says. */
  take() {
    if (this.#applyError !== null) {
      return {
        text: null,
        why: `the state is valid only up to the action before index ${this.#applyError.index}`,
        micros: 0
      }
    }
    return snapshot.take(this.#application, this.#store.committed)
  }

  replayed() {
    this.#isReplayed = true
    this.#notify(this.#reducedIndex)
  }

  /**
   * Listeners are not called before the replay is done, and then once: they must not read an older state.
   *
   * @param action undefined if the state was restored instead of reduced.
   */
  #notify(index, action) {
    this.#reducedIndex = index
    if (!this.#isReplayed) return
    const at = action === undefined || this.at === 0 ? undefined : this.at
    this.subscribers.notify(index, action, at)
    this.selections.notify()
    this.commits.notify(index, action, at)
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

module.exports = { ReplicatedState }
