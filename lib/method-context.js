// What `this` is in a method: the leader's node, and beside it what only an evaluation has.
//
// Made by node.js, which says when an evaluation begins and ends. The object is made once: a call pays for what it uses.

'use strict'

const errors = require('./errors')
const { Random } = require('./random')

class MethodContext {
  /** `this` of the methods. */
  handle
  /** The time of the evaluations of this batch. */
  at = 0
  #isRunning = false
  #position = 0
  #random = null
  #seedOf

  /** @param seedOf gives the seed of an evaluation from its position in the batch. */
  constructor(node, seedOf) {
    this.#seedOf = seedOf
    this.handle = Object.create(node, {
      now: { value: () => this.#now() },
      random: { value: () => this.#next() }
    })
  }

  begin(position) {
    this.#position = position
    this.#random = null
    this.#isRunning = true
  }

  end() {
    this.#isRunning = false
  }

  #now() {
    this.#check('now')
    return this.at
  }

  /** The same numbers wherever this call is evaluated. */
  #next() {
    this.#check('random')
    this.#random ??= new Random(this.#seedOf(this.#position))
    return this.#random.next()
  }

  #check(what) {
    if (!this.#isRunning) throw errors.notInMethod(what)
  }
}

module.exports = { MethodContext }
