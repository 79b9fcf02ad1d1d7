// Decides how long a node may work before it yields to the event loop.
//
// Used by inbox.js. Other work of the process (timers, sockets, other nodes) waits meanwhile, and a leader that gives
// no sign for an election timeout counts as blocked.

'use strict'

const { now, setImmediate } = require('./environment')

/** One slice, in milliseconds. */
const SLICE_MS = 50
/** For less than this, it does not matter whether the event loop has turned since. */
const SHORT_MS = 5
/**
 * Reading the clock takes a tenth of the time of a small action: while actions are quick, it is read after this many.
 */
const STRIDE_MAX = 16
const QUICK_MS = 1

class Slice {
  /** How much of the slice was used since the event loop turned, in milliseconds. */
  #used = 0
  #start = 0
  #stopped = 0
  #end = 0
  #stride = 1
  #untilRead = 1
  #read = 0
  #isRenewalDue = false
  #renew = () => this.renew()

  /** Work begins; to be ended by `stop`. */
  start() {
    const time = now()
    // Between two batches callers continue, at an unknown time: the time counts, unless the event loop has turned
    // since.
    if (this.#isRenewalDue) this.#used += time - this.#stopped
    else if (time - this.#stopped >= SHORT_MS) this.#renewLater()
    this.#start = this.#read = time
    this.#end = time + SLICE_MS - this.#used
    // Earlier quick work says nothing about this: a reducer may be quick, and a subscriber slow.
    this.#stride = this.#untilRead = 1
  }

  /** Called after each piece of work: returns whether the event loop should turn before the next. */
  isOver() {
    if (--this.#untilRead > 0) return false
    const time = now()
    const isQuick = time - this.#read < QUICK_MS
    this.#stride = isQuick ? Math.min(2 * this.#stride, STRIDE_MAX) : 1
    this.#untilRead = this.#stride
    this.#read = time
    return time >= this.#end
  }

  /** Work pauses or ends. Returns whether the event loop should turn before there is more of it. */
  stop() {
    // The clock was read just now, if `isOver` read it after the last piece of work.
    const time = this.#untilRead === this.#stride && this.#read > this.#start ? this.#read : now()
    this.#count(time, this.#start)
    return this.isUsedUp
  }

  /** Since work paused, callers continued, without a turn of the event loop. Returns for how long. */
  resume() {
    const time = now()
    const took = time - this.#stopped
    this.#count(time, this.#stopped)
    return took
  }

  /** When the clock was last read. */
  get lastRead() {
    return this.#read
  }

  get isUsedUp() {
    return this.#used >= SLICE_MS
  }

  #count(time, since) {
    this.#used += time - since
    this.#stopped = time
    if (this.#used >= SHORT_MS && this.#used < SLICE_MS) this.#renewLater()
  }

  #renewLater() {
    if (this.#isRenewalDue) return
    this.#isRenewalDue = true
    setImmediate(this.#renew)
  }

  /** The event loop has turned. */
  renew() {
    this.#isRenewalDue = false
    this.#used = 0
  }
}

module.exports = { SLICE_MS, Slice }
