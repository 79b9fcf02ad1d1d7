// This file calls the application's functions: methods, reducer, `serialize` and `deserialize`; and knows while one of
// them runs.
//
// They only compute: what would start a perform or a close from inside one is told so (`ERR_CONFLUX_REENTRANT`).

'use strict'

const errors = require('./errors')

const noop = () => {}

class Application {
  #methods
  #reduce
  #serialize
  #deserialize
  /** What runs right now, in words, or null. */
  #inside = null

  constructor({ methods, reduce, snapshot }) {
    this.#methods = methods
    this.#reduce = reduce
    this.#serialize = snapshot.serialize
    this.#deserialize = snapshot.deserialize
  }

  /** `reduce(undefined, null)`, as in 1.x; for a reducer that reads `action.type`, what Redux would send. */
  initialState() {
    try {
      return this.reduce(undefined, null)
    } catch (error) {
      try {
        return this.reduce(undefined, { type: '@@conflux/INIT' })
      } catch {
        throw errors.initialState(error)
      }
    }
  }

  /** The state after the action. Throws what the reducer throws. */
  reduce(state, action) {
    this.#inside = 'a reducer'
    try {
      const reduce = this.#reduce
      const next = reduce(state, action)
      if (isThenable(next)) throw errors.asyncReducer()
      return next
    } finally {
      this.#inside = null
    }
  }

  /** Whether the state is kept in another shape than its own. */
  get serializes() {
    return this.#serialize !== undefined
  }

  /** What is kept of the state. Throws what `serialize` throws. */
  serialize(state) {
    return this.serializes ? this.#convert(this.#serialize, '`serialize`', state) : state
  }

  /** The state, from what was kept of one. Throws what `deserialize` throws. */
  deserialize(value) {
    return this.serializes ? this.#convert(this.#deserialize, '`deserialize`', value) : value
  }

  #convert(convert, what, value) {
    this.#inside = what
    try {
      const converted = convert(value)
      if (isThenable(converted)) throw new Error('it returned a promise, but must be synchronous')
      return converted
    } catch (error) {
      throw new Error(`${what} threw: ${errors.messageOf(error)}`, { cause: error })
    } finally {
      this.#inside = null
    }
  }

  /** Own functions only: `constructor` and `__proto__` are methods of nobody who did not write them. */
  has(method) {
    return Object.hasOwn(this.#methods, method) && typeof this.#methods[method] === 'function'
  }

  /** What the method returned. Throws what it throws. */
  call(node, method, args) {
    this.#inside = 'a method'
    try {
      const returned = Reflect.apply(this.#methods[method], node, args)
      if (isThenable(returned)) throw errors.asyncMethod(method)
      return returned
    } finally {
      this.#inside = null
    }
  }

  /** Throws if a function of this node's application is running that only computes. */
  forbidInside(what) {
    if (this.#inside !== null) throw errors.reentrant(what, this.#inside)
  }
}

/** A promise is refused; its own rejection is nobody's business any more. */
function isThenable(value) {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return false
  if (typeof value.then !== 'function') return false
  Promise.resolve(value).catch(noop)
  return true
}

module.exports = { Application }
