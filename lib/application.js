// This file calls the application's functions: methods, reducer, `serialize` and `deserialize`; and knows while one of
// them runs.
//
// They only compute: what would start a perform or a close from inside one, on this node or on another of the process, is
// told so (`ERR_CONFLUX_REENTRANT`).

'use strict'

const errors = require('./errors')
const { StateCheck } = require('./state-check')

const noop = () => {}

/** What runs right now, of any node, in words, or null. */
let inside = null

class Application {
  #methods
  #reduce
  #serialize
  #deserialize
  /** Protects what the reducer returns, or null. */
  #check = null
  #run = (state, action) => this.#reduceUnchecked(state, action)

  constructor({ methods, reduce, snapshot, checkState = true }) {
    this.#methods = methods
    this.#reduce = reduce
    this.#serialize = snapshot.serialize
    this.#deserialize = snapshot.deserialize
    if (checkState) this.#check = new StateCheck(!this.serializes)
  }

  /** `reduce(undefined, null)`, as in 1.x; for a reducer that reads `action.type`, what Redux would send. */
  initialState() {
    const state = this.#makeInitialState()
    try {
      this.#check?.protect(state)
    } catch (error) {
      throw errors.initialStateFault(error)
    }
    return state
  }

  #makeInitialState() {
    try {
      return this.#run(undefined, null)
    } catch (error) {
      try {
        return this.#run(undefined, { type: '@@conflux/INIT' })
      } catch {
        throw errors.initialState(error)
      }
    }
  }

  /** The state after the action. Throws what the reducer throws, or if it changed the state in place, or is not JSON. */
  reduce(state, action, isCommitted = false) {
    if (this.#check === null) return this.#run(state, action)
    return this.#check.reduce(this.#run, state, action, isCommitted)
  }

  #reduceUnchecked(state, action) {
    const outer = inside
    inside = 'a reducer'
    try {
      const reduce = this.#reduce
      const next = reduce(state, action)
      if (isThenable(next)) throw errors.asyncReducer()
      return next
    } finally {
      inside = outer
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
    const state = this.serializes ? this.#convert(this.#deserialize, '`deserialize`', value) : value
    this.#check?.protectDecoded(state)
    return state
  }

  #convert(convert, what, value) {
    const outer = inside
    inside = what
    try {
      const converted = convert(value)
      if (isThenable(converted)) throw new Error('it returned a promise, but must be synchronous')
      return converted
    } catch (error) {
      throw new Error(`${what} threw: ${errors.messageOf(error)}`, { cause: error })
    } finally {
      inside = outer
    }
  }

  /** Own functions only: `constructor` and `__proto__` are methods of nobody who did not write them. */
  has(method) {
    return Object.hasOwn(this.#methods, method) && typeof this.#methods[method] === 'function'
  }

  /** What the method returned. Throws what it throws, or if it changed the state in place. */
  call(node, method, args) {
    if (this.#check === null) return this.#callUnchecked(node, method, args)
    return this.#check.call(() => this.#callUnchecked(node, method, args))
  }

  /** A state, as what runs right now is to see it. */
  show(state) {
    return this.#check === null ? state : this.#check.show(state)
  }

  #callUnchecked(node, method, args) {
    const outer = inside
    inside = 'a method'
    try {
      const returned = Reflect.apply(this.#methods[method], node, args)
      if (isThenable(returned)) throw errors.asyncMethod(method)
      return returned
    } finally {
      inside = outer
    }
  }

  /** Throws if a function of an application is running that only computes. */
  forbidInside(what) {
    if (inside !== null) throw errors.reentrant(what, inside)
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
