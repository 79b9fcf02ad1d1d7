// What `this` is in a method: the leader's node, and beside it what only an evaluation has.
//
// Made by evaluations.js, which says when an evaluation begins and ends. The object is made once: a call pays for what it
// uses.

'use strict'

const errors = require('./errors')
const { Random } = require('./random')
const { TimerChanges } = require('./timer-changes')

class MethodContext {
  /** `this` of the methods. */
  handle
  /** What the method does to the timers. */
  changes
  /** The time of the evaluations of this batch. */
  at = 0
  #isRunning = false
  #position = 0
  #random = null
  /** The timer that runs the method: `{ name, due }`, or null. */
  #timer = null
  #core
  #caller

  /**
   * @param node the public object of the node.
   * @param parts.core gives the native node.
   * @param parts.hasMethod returns whether this node has a method.
   * @param parts.caller what the method sees of the sessions.
   */
  constructor(node, { core, hasMethod, caller }) {
    this.#core = core
    this.#caller = caller
    this.changes = new TimerChanges(core, hasMethod)
    this.handle = Object.create(node, {
      now: { value: () => this.#now() },
      random: { value: () => this.#next() },
      schedule: { value: (name, options) => this.#schedule(name, options) },
      unschedule: { value: name => this.#unschedule(name) },
      caller: { get: () => this.#callerOf() },
      timer: { get: () => this.#timer?.name },
      scheduledAt: { get: () => this.#timer?.due }
    })
  }

  beginBatch(at) {
    this.at = at
    this.changes.beginBatch()
  }

  /** @param timer what runs the method, if no call does. */
  begin(position, timer = null) {
    this.#position = position
    this.#random = null
    this.#timer = timer
    this.#caller.begin()
    if (!this.changes.isEmpty) this.changes.clear()
    this.#isRunning = true
  }

  end() {
    this.#isRunning = false
    this.#timer = null
  }

  get isRunning() {
    return this.#isRunning
  }

  /** Throws what a method may not return. */
  verify(returned) {
    this.#caller.verify(returned)
  }

  #callerOf() {
    if (!this.#isRunning) return undefined
    if (this.#timer !== null) throw errors.noCaller(this.#timer.name)
    return this.#caller.caller
  }

  #now() {
    this.#check('now')
    return this.at
  }

  /** The same numbers wherever this call is evaluated. */
  #next() {
    this.#check('random')
    this.#random ??= new Random(this.#core().evaluationSeed(this.#position))
    return this.#random.next()
  }

  #schedule(name, options) {
    this.#check('schedule')
    this.changes.schedule(name, options, this.at, true)
  }

  #unschedule(name) {
    this.#check('unschedule')
    this.changes.unschedule(name)
  }

  #check(what) {
    if (!this.#isRunning) throw errors.notInMethod(what)
  }
}

module.exports = { MethodContext }
