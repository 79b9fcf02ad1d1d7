// Takes snapshots of a state, and restores one, in slices: a large state must not block the process.
//
// Called by replicated-state.js. A small state takes one slice, before the batch continues. While a snapshot of a large one
// is taken, later actions are reduced: each state is immutable. While one is restored, later deliveries wait.

'use strict'

const { SLICE_MS, cancel, runInBackground } = require('./background')
const { now } = require('./environment')
const errors = require('./errors')
const { StateBuilder } = require('./state-builder')
const { StateText } = require('./state-text')

/** Measures how long work occupies JavaScript. */
class Stopwatch {
  micros = 0
  longest = 0

  /** Adds a slice. */
  time(work) {
    const start = now()
    try {
      return work()
    } finally {
      const micros = Math.round((now() - start) * 1000)
      this.micros += micros
      this.longest = Math.max(this.longest, micros)
    }
  }
}

/** Takes one snapshot at a time. */
class SnapshotTaker {
  #application
  #sink
  #running = null
  #job = { run: end => this.#run(end) }

  /**
   * @param sink `piece(text, isFirst)` for each piece of a snapshot; then `taken(index, characters, stopwatch)`, or
   *   `failed(index, why, stopwatch)`.
   */
  constructor(application, sink) {
    this.#application = application
    this.#sink = sink
  }

  /**
   * Takes a snapshot of the state at this index, now or soon. One that is being taken is dropped.
   *
   * A state that JSON changes only slightly is accepted: `-0` becomes 0, and a property whose value is `undefined`
   * disappears. Anything beyond plain values is refused: further properties of an array, accessors, properties that
   * are not enumerable.
   */
  take(index, state) {
    this.end()
    const stopwatch = new Stopwatch()
    const taking = { index, stopwatch, text: null, characters: 0 }
    const emit = piece => {
      this.#sink.piece(piece, taking.characters === 0)
      taking.characters += piece.length
    }
    try {
      const value = stopwatch.time(() => this.#application.serialize(state))
      const path = this.#application.serializes ? 'serialize(state)' : 'state'
      taking.text = new StateText(value, path, emit)
    } catch (error) {
      this.#sink.failed(index, errors.messageOf(error), stopwatch)
      return
    }
    this.#running = taking
    // A state that may be changed in place has to be encoded at once.
    const isComplete = this.#run(this.#application.isProtected ? now() + SLICE_MS : Infinity)
    if (!isComplete) runInBackground(this.#job)
  }

  #run(end) {
    const { index, stopwatch, text } = this.#running
    if (!stopwatch.time(() => text.run(end))) return false
    const taken = this.#running
    this.#running = null
    if (text.why === null) this.#sink.taken(index, taken.characters, stopwatch)
    else this.#sink.failed(index, `${text.why}${this.#advice(text)}`, stopwatch)
    return true
  }

  #advice(text) {
    if (!text.isFault) return ''
    const advice = this.#application.serializes
      ? '`serialize` must return what JSON keeps'
      : 'use snapshot: { serialize, deserialize }'
    return `; ${advice}`
  }

  /** Drops the snapshot that is being taken. */
  end() {
    cancel(this.#job)
    this.#running = null
  }
}

/** Restores one state. */
class Restoring {
  /** The restoration was not complete at once. */
  isAwaited = false
  #application
  #builder
  /** What `deserialize` returned is frozen last. */
  #state = undefined
  #freezer = null
  #isBuilt = false
  #done
  #progressed
  #job = { run: end => this.#run(end) }

  /**
   * @param next gives the next piece of the text, as `StateBuilder` wants it.
   * @param progressed called after each slice but the last.
   * @param done called with an error or null, the state, and the characters of its text.
   */
  constructor(application, next, { progressed, done }) {
    this.#application = application
    this.#builder = new StateBuilder(next, application.isProtected && !application.serializes)
    this.#progressed = progressed
    this.#done = done
  }

  /** Begins; `done` may be called before it returns. */
  begin() {
    if (this.#run(now() + SLICE_MS)) return
    this.isAwaited = true
    runInBackground(this.#job, true)
  }

  #run(end) {
    try {
      if (!this.#build(end) || this.#freezer?.run(end) === false) {
        this.#progressed()
        return false
      }
    } catch (error) {
      this.#done(error)
      return true
    }
    this.#done(null, this.#state, this.#builder.characters)
    return true
  }

  #build(end) {
    if (this.#isBuilt) return true
    if (!this.#builder.run(end)) return false
    this.#isBuilt = true
    this.#state = this.#application.deserialize(this.#builder.value)
    // Without `deserialize`, the builder has frozen the state.
    if (this.#application.serializes) this.#freezer = this.#application.freezerOf(this.#state)
    return true
  }

  /** The node has ended. */
  end() {
    cancel(this.#job)
  }
}

module.exports = { Restoring, SnapshotTaker }
