// Freezes what is new between two states and was skipped by the checks of the actions, after the turn of the event loop.
//
// Used by state-check.js. Where it takes long, it runs in slices and is put off.

'use strict'

const { SLICE_MS, runInBackground } = require('./background')
const { afterTurn } = require('./budget')
const { now, setTimeout } = require('./environment')
const { StateFreezer } = require('./state-freezer')

/** The pause after a run, as a multiple of its duration. */
const PAUSE_FACTOR = 32

class FrozenLater {
  #isJson
  /** The newest state, and the one since which nothing is frozen for certain; or null. */
  #pair = null
  #isScheduled = false
  /** The running `StateFreezer`, or null. */
  #freezer = null
  #endedAt = 0
  #tookMs = 0
  #job = { run: end => this.#run(end) }

  constructor(isJson) {
    this.#isJson = isJson
  }

  /** Called while an action is reduced, if some new parts of `next` are not frozen. */
  add(former, next) {
    if (this.#pair !== null) {
      this.#pair.next = next
      return
    }
    this.#pair = { former, next }
    if (!this.#isScheduled) {
      this.#isScheduled = true
      afterTurn(() => this.#begin())
    }
  }

  #begin() {
    const start = now()
    const pauseMs = this.#endedAt + this.#tookMs * PAUSE_FACTOR - start
    if (pauseMs > 0) {
      setTimeout(() => this.#begin(), pauseMs).unref()
      return
    }
    const { former, next } = this.#pair
    this.#pair = null
    this.#tookMs = 0
    this.#freezer = new StateFreezer(next, former, this.#isJson)
    if (!this.#run(start + SLICE_MS)) runInBackground(this.#job)
  }

  #run(end) {
    const start = now()
    const isComplete = this.#freezer.run(end)
    this.#endedAt = now()
    this.#tookMs += this.#endedAt - start
    if (!isComplete) return false
    this.#freezer = null
    this.#isScheduled = this.#pair !== null
    if (this.#isScheduled) setTimeout(() => this.#begin(), this.#tookMs * PAUSE_FACTOR).unref()
    return true
  }
}

module.exports = { FrozenLater }
