/**
 * A random generator that gives the same numbers for the same seed.
 *
 * Called by the schedule and the faults; a process under test has its own. What the machine does in between is not
 * repeated: a seed repeats the faults, not the run.
 */
'use strict'

class Random {
  #state

  constructor(seed) {
    this.#state = seed >>> 0
  }

  /** From 0 to 1, without 1 (mulberry32). */
  next() {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = this.#state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  between(min, max) {
    return min + this.next() * (max - min)
  }

  chance(probability) {
    return this.next() < probability
  }

  pick(things) {
    return things[Math.floor(this.next() * things.length)]
  }

  shuffle(things) {
    const shuffled = [...things]
    for (let i = shuffled.length - 1; i > 0; i--) {
      const j = Math.floor(this.next() * (i + 1))
      ;[shuffled[i], shuffled[j]] = [shuffled[j], shuffled[i]]
    }
    return shuffled
  }
}

module.exports = { Random }
