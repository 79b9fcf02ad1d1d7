// The changes that a method makes to timers: collected while it runs, and logged together with its action.
//
// Made by method-context.js for `this.schedule` and `this.unschedule`.

'use strict'

const { Buffer } = require('./environment')
const errors = require('./errors')
const { begin, checkName, checkTimer } = require('./timer-rules')

/** Of all timers. */
const TIMERS_MAX = 200_000
const BYTES_MAX = 64 * 1024 * 1024
/** The size of a timer without its texts, as the core counts it (src/raft/coordination/timers.rs). */
const OVERHEAD_BYTES = 160

/** What one action may do to timers is a part of its entry. */
const CHANGES_BYTES_MAX = 256 * 1024

/** A time that is further in the past than this is a mistake. A call may wait this long for a leader. */
const TRANSIT_MS = 60_000

class TimerChanges {
  #core
  #hasMethod
  /** Of the method that runs. */
  #texts = []
  #bytes = 0
  /** The expected size of the table once everything is applied; undefined before it is read in this batch. */
  #expected = undefined
  /** The timers that this batch has changed. */
  #changed = new Set()

  /**
   * @param core gives the native node.
   * @param hasMethod returns whether this leader has a method.
   */
  constructor(core, hasMethod) {
    this.#core = core
    this.#hasMethod = hasMethod
  }

  /** A batch begins. */
  beginBatch() {
    this.#expected = undefined
    this.#changed.clear()
  }

  hasChanged(name) {
    return this.#changed.has(name)
  }

  /** A method begins. */
  clear() {
    this.#texts.length = 0
    this.#bytes = 0
  }

  get isEmpty() {
    return this.#texts.length === 0
  }

  /** The text of an array. */
  encode() {
    return `[${this.#texts.join(',')}]`
  }

  /**
   * Throws if the timer is invalid, or there is no room for it.
   *
   * @param isInMethod the method itself names a time, and so knows the present time.
   */
  schedule(name, options, now, isInMethod) {
    const timer = checkTimer(name, options)
    const { method, args } = timer
    if (!this.#hasMethod(method)) throw errors.unknownMethod(method)
    const { due, rule } = begin(timer, now, isInMethod ? 0 : TRANSIT_MS)
    const text = JSON.stringify([name, [due, method, args, rule]])
    const bytes = Buffer.byteLength(text)
    this.#checkRoom(name, bytes)
    this.#add(name, text, bytes)
  }

  unschedule(name) {
    checkName(name, 'unschedule')
    const text = JSON.stringify([name, null])
    this.#add(name, text, Buffer.byteLength(text))
  }

  #add(name, text, bytes) {
    if (this.#bytes + bytes > CHANGES_BYTES_MAX) {
      throw errors.tooLarge('what one action does to timers', this.#bytes + bytes, CHANGES_BYTES_MAX)
    }
    this.#texts.push(text)
    this.#changed.add(name)
    this.#bytes += bytes
  }

  /** Counts what replaces a timer as another one, until that would be too many. */
  #checkRoom(name, bytes) {
    if (this.#expected === undefined) {
      const [count, total] = this.#core().timerRoom()
      this.#expected = { count, total }
    }
    const { count, total } = this.#expected
    const isFull = count >= TIMERS_MAX && !this.#core().hasTimer(name)
    if (isFull || total + bytes + OVERHEAD_BYTES > BYTES_MAX) {
      throw errors.tooManyTimers(count, total, TIMERS_MAX, BYTES_MAX)
    }
    this.#expected.count++
    this.#expected.total += bytes + OVERHEAD_BYTES
  }
}

module.exports = { TimerChanges }
