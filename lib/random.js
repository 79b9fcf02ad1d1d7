// A generator of random numbers from a seed: sfc32 of PractRand, whose numbers pass its tests.
//
// Used by method-context.js. Nothing secret may depend on it.

'use strict'

/** After this many numbers, each bit of the seed has changed the whole state. */
const WARM_UP = 12

class Random {
  #a
  #b
  #c = 0x9e3779b9
  #counter = 1

  /** @param seed a safe integer, 0 or more. */
  constructor(seed) {
    this.#a = seed | 0
    this.#b = (seed / 0x100000000) | 0
    for (let i = 0; i < WARM_UP; i++) this.#step()
  }

  /** A number from 0 to below 1, of 53 bits. */
  next() {
    const high = this.#step() >>> 5
    const low = this.#step() >>> 6
    return (high * 0x4000000 + low) / 0x20000000000000
  }

  #step() {
    const sum = (((this.#a + this.#b) | 0) + this.#counter) | 0
    this.#counter = (this.#counter + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = (this.#c << 21) | (this.#c >>> 11)
    this.#c = (this.#c + sum) | 0
    return sum
  }
}

module.exports = { Random }
