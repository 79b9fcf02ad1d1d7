// Hashes the states at the indexes at which the leader compares them.
//
// Called by replicated-state.js. A small state is hashed before the batch continues; a large one in slices, while later
// actions are reduced: each state is immutable.

'use strict'

const { SLICE_MS, cancel, runInBackground } = require('./background')
const { now } = require('./environment')
const { Pass } = require('./state-hash')

class StateComparison {
  #application
  #report
  /** The sums of large parts, for as long as a state holds them. */
  #parts
  /** The value that was hashed last, if its sums are kept. */
  #former = undefined
  /** `{ index, value, pass, micros }` */
  #running = null
  /** The newest state that waits: `{ index, state }`. */
  #waiting = null
  #job = { run: end => this.#run(end) }

  /** @param report called with an index, a hash or null, and how long JavaScript was occupied, in microseconds. */
  constructor(application, report) {
    this.#application = application
    this.#report = report
    // A state that may be changed in place must not be remembered.
    this.#parts = application.isProtected ? new WeakMap() : null
  }

  /** Hashes the state at this index, now or soon, and reports it. */
  hash(index, state) {
    if (this.#running === null) {
      this.#begin(index, state)
      return
    }
    // This node is slow, and the leader uses the newest hash.
    if (this.#waiting !== null) this.#report(this.#waiting.index, null, 0)
    this.#waiting = { index, state }
  }

  #begin(index, state) {
    const start = now()
    let value
    try {
      value = this.#application.serialize(state)
    } catch {
      this.#report(index, null, microsSince(start))
      return
    }
    const pass = new Pass(this.#parts, !this.#application.serializes, value, this.#former)
    const isComplete = pass.run(this.#parts === null ? Infinity : start + SLICE_MS)
    this.#running = { index, value, pass, micros: microsSince(start) }
    if (isComplete) this.#finish()
    else runInBackground(this.#job)
  }

  #run(end) {
    const start = now()
    const { pass } = this.#running
    const isComplete = pass.run(end)
    this.#running.micros += microsSince(start)
    if (!isComplete) return false
    this.#finish()
    if (this.#waiting === null) return true
    const { index, state } = this.#waiting
    this.#waiting = null
    this.#begin(index, state)
    return true
  }

  #finish() {
    const { index, value, pass, micros } = this.#running
    this.#running = null
    this.#former = this.#parts?.has(value) ? value : undefined
    this.#report(index, pass.result, micros)
  }

  /** The node has ended. */
  end() {
    cancel(this.#job)
    this.#running = this.#waiting = null
    this.#former = undefined
  }
}

function microsSince(start) {
  return Math.round((now() - start) * 1000)
}

module.exports = { StateComparison }
