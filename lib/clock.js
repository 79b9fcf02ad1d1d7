// The clock of a node as a leader: what `this.now()` returns in its methods, and what its entries carry as `at`.
//
// Used by evaluations.js. It never falls below a time that was committed or read before. It follows the wall clock, except
// where that was stepped: then it continues from what the node knows of the cluster's time, and approaches the wall clock
// slowly, because leases and timers measure with it. The core keeps the latest time of the log (src/raft/coordination/clock.rs).

'use strict'

const { uptime, wallClock } = require('./environment')

/**
 * A wall clock that is no farther away than this, in milliseconds, from the time that this node expects is right. NTP keeps
 * clocks within some 10 ms of each other, and an entry is applied some 10 ms after its evaluation.
 */
const EXACT_MS = 20

/** One that is farther away than this is worth a warning. */
const JUMP_MS = 1000

/** How much faster or slower than time the clock runs while it approaches the wall clock. */
const SLEW = 0.05

/** The precision of the uptime of the machine. */
const SLEEP_MS_MIN = 500

/** An entry may have been applied late, and says too little then: the expected time follows it this slowly, as drift is slow. */
const DRIFT = 0.001

class Clock {
  /** Entries that arrive from here on were evaluated just now: the log of before is reduced. */
  isLive = false
  #floor = 0
  /** The expected time at `#moment` of the monotonic clock; undefined while there is nothing to expect it from. */
  #expected = undefined
  #moment = 0
  #hasJumped = false
  /** How far the uptime was ahead of the monotonic clock, which stops while the machine sleeps. */
  #ahead = undefined
  #onJump
  #uptime

  /**
   * @param onJump called with `{ wall, at }` once when the wall clock has jumped.
   * @param uptimeOf gives the seconds since the machine started, its sleep included.
   */
  constructor(onJump, uptimeOf = uptime) {
    this.#onJump = onJump
    this.#uptime = uptimeOf
  }

  /**
   * An entry was evaluated at this time.
   *
   * @param moment of the monotonic clock, likewise below.
   */
  observe(at, moment) {
    if (at <= this.#floor) return
    this.#floor = at
    if (!this.isLive) return
    const expected = this.#expectedAt(moment)
    const least = expected === undefined ? at : expected - (moment - this.#moment) * DRIFT
    this.#expect(Math.max(at, least), moment)
  }

  /** The time, for evaluations that begin now. */
  read(moment) {
    const wall = wallClock()
    let expected = this.#expectedAt(moment)
    this.#ahead ??= this.#uptime() * 1000 - moment
    if (expected !== undefined && wall - expected > SLEEP_MS_MIN) expected += this.#sleptUntil(moment)
    const distance = expected === undefined ? 0 : wall - expected
    let time = wall
    if (Math.abs(distance) > EXACT_MS) {
      const step = (moment - this.#moment) * SLEW
      time = expected + Math.max(-step, Math.min(step, distance))
    }
    const hasJumped = Math.abs(distance) > JUMP_MS
    if (hasJumped && !this.#hasJumped) this.#onJump({ wall, at: Math.round(time) })
    this.#hasJumped = hasJumped
    this.#expect(time, moment)
    return (this.#floor = Math.max(this.#floor, Math.floor(time)))
  }

  /** How long the machine has slept since the last call: the time of the cluster passes meanwhile. */
  #sleptUntil(moment) {
    const ahead = this.#uptime() * 1000 - moment
    const slept = ahead - this.#ahead
    this.#ahead = ahead
    return slept > SLEEP_MS_MIN ? slept : 0
  }

  #expect(time, moment) {
    this.#expected = time
    this.#moment = moment
  }

  #expectedAt(moment) {
    return this.#expected === undefined ? undefined : this.#expected + (moment - this.#moment)
  }
}

module.exports = { Clock }
