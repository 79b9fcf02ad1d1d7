// The application's state on one node: applies deliveries to it, notifies subscribers, and makes its snapshots.
//
// Made by node.js; called by `deliveries.js` for each delivery about the state. It reports errors by a callback and
// knows nothing else about the core.

'use strict'

const errors = require('./errors')
const { Commits } = require('./commits')
const { evaluate, evaluateSystem, evaluateTimer, refuse } = require('./evaluation')
const { Selections } = require('./selections')
const { Restoring, SnapshotTaker } = require('./snapshot')
const { StateComparison } = require('./state-comparison')
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
  /** The state contains everything up to this index. */
  #reducedIndex = 0
  #application
  #store
  /** Until this is true, the state is older than the one that an earlier process had. */
  #isReplayed
  /** The committed action or snapshot that the state cannot follow: `{ index, action, cause }`, until one is restored. */
  #applyError = null
  #onApplyError
  #onHashed
  #comparison
  #snapshots
  #snapshotTaker
  #restoring = null

  /**
   * Throws if the reducer has no initial state.
   *
   * @param readLog gives the committed actions between two indexes, as the core's `commits`.
   * @param onApplyError called with an index and a sentence: what is committed there cannot be reduced on this node.
   * @param onHashed called with what `StateComparison` reports.
   * @param snapshots receives snapshots, as `SnapshotTaker` says; `restored` receives the index and the length of one
   *   that the state is of.
   */
  constructor(application, { isReplayed, readLog }, { onApplyError, onHashed, snapshots }) {
    this.commits = new Commits(() => this.#reducedIndex, readLog)
    this.#application = application
    this.#store = new Store(application)
    this.#isReplayed = isReplayed
    this.#onApplyError = onApplyError
    this.#onHashed = onHashed
    this.#comparison = new StateComparison(application, onHashed)
    this.#snapshots = snapshots
    this.#snapshotTaker = new SnapshotTaker(application, snapshots)
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

  /** The index of the last action or snapshot in the state. */
  get reducedIndex() {
    return this.#reducedIndex
  }

  // For the core.

  /** The answer to a call; a large one puts its action into `beside`. */
  evaluate(call, beside, onThrown) {
    // Nothing is evaluated on a state that lacks a committed action; the core drops this answer.
    if (this.#applyError !== null) return refuse(this.#applyError.cause)
    return evaluate(this.#application, this.#store, call, beside, onThrown)
  }

  /** The action of the oldest provisional state. */
  get oldestText() {
    return this.#store.oldestText
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

  /**
   * The state becomes that of a snapshot, now or soon. Returns whether it has; otherwise `resume` is called when it has, and
   * nothing may be delivered before.
   *
   * @param nextPiece gives the next piece of the state, as `StateBuilder` wants it.
   * @param progressed called at intervals meanwhile.
   */
  restore(index, nextPiece, progressed, resume) {
    let isDone = false
    this.#restoring = new Restoring(this.#application, nextPiece, {
      progressed,
      done: (cause, state, characters) => {
        isDone = true
        const isAwaited = this.#restoring !== null && this.#restoring.isAwaited
        this.#restoring = null
        this.#takeRestored(index, cause, state)
        if (cause === null) this.#snapshots.restored(index, characters)
        if (isAwaited) resume()
      }
    })
    this.#restoring.begin()
    return isDone
  }

  restoreInitial(index) {
    let state
    let cause = null
    try {
      state = this.#application.initialState()
    } catch (error) {
      cause = error
    }
    this.#takeRestored(index, cause, state)
  }

  #takeRestored(index, cause, state) {
    if (cause !== null) {
      this.#stall({ index, action: undefined, cause }, 'the snapshot at that index cannot be read')
      return
    }
    this.#applyError = null
    this.#store.restore(state)
    this.#notify(index)
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

  /** Takes a snapshot, now or soon; the sink receives it. */
  take(index) {
    if (this.#applyError === null) {
      this.#snapshotTaker.take(index, this.#store.committed)
      return
    }
    const why = `the state is valid only up to the action before index ${this.#applyError.index}`
    this.#snapshots.failed(index, why, { micros: 0, longest: 0 })
  }

  /** Hashes the state, now or soon; `onHashed` receives the hash. */
  hash(index) {
    if (this.#applyError === null) this.#comparison.hash(index, this.#store.committed)
    else this.#onHashed(index, null, 0)
  }

  /** The node has ended: nothing is computed any more. */
  end() {
    this.#comparison.end()
    this.#snapshotTaker.end()
    this.#restoring?.end()
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

/** The action as text. The reducer has had the action, and may have put anything into it. */
function textOf(action) {
  try {
    return excerpt(JSON.stringify(action))
  } catch (error) {
    return `that is not JSON any more (${excerpt(errors.messageOf(error))})`
  }
}

/** The beginning of a text, as much as a message may contain. */
function excerpt(text) {
  return text.length <= EXCERPT_LENGTH_MAX ? text : `${text.slice(0, EXCERPT_LENGTH_MAX)}…`
}

module.exports = { ReplicatedState }
