// The clock of a node as a leader: what `this.now()` returns in its methods, and what its entries carry as `at`.
//
// Used by evaluations.js. It never falls below a time that was committed or read before. It follows the wall clock,
// except where that has jumped: then it continues from what the node knows of the cluster's time, and approaches the
// wall clock slowly. The core keeps the latest time of the log (src/raft/coordination/clock.rs).

'use strict'

const { uptime, wallClock } = require('./environment')

/**
 * A wall clock that is farther away than this, in milliseconds, from the time that this node expects has jumped. NTP keeps
 * clocks within some 10 ms of each other, and an entry is applied some 10 ms after its evaluation; a second is out of
 * reach of both.
 */
const JUMP_MS = 1000

/** How much faster or slower than time the clock runs while it approaches a wall clock that has jumped. */
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
    if (expected !== undefined && wall - expected > JUMP_MS) expected += this.#sleptUntil(moment)
    let time = wall
    if (expected !== undefined && Math.abs(wall - expected) > JUMP_MS) {
      const step = (moment - this.#moment) * SLEW
      time = wall > expected ? expected + step : expected - step
      if (!this.#hasJumped) this.#onJump({ wall, at: Math.round(time) })
      this.#hasJumped = true
    } else {
      this.#hasJumped = false
    }
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
