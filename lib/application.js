// Calls the application's functions: methods, reducer, `serialize` and `deserialize`. Records which of them is running.
//
// They only compute: a call or a close that one of them starts, on any node of the process, is rejected
// (`ERR_CONFLUX_REENTRANT`).

'use strict'

const { isGeneratorObject } = require('node:util').types
const { Promise } = require('./environment')
const errors = require('./errors')
const { cut, findFault } = require('./json-faults')
const { StateCheck } = require('./state-check')
const { StateFreezer } = require('./state-freezer')
const { isStrictMethod, strictActionsOf } = require('./strict-code')

const noop = () => {}

/** What `call` returns if there is no such method. */
const NO_METHOD = Symbol('no method')

/** The function that runs right now, of any node, as text, or null. */
let inside = null

// Each calls one function of the application, which `inside` names meanwhile.

function callReducer(reduce, state, action) {
  const outer = inside
  inside = 'a reducer'
  try {
    const next = reduce(state, action)
    const kind = asynchronousKind(next)
    if (kind !== null) throw errors.asyncReducer(kind)
    return next
  } finally {
    inside = outer
  }
}

/** A method may be a getter: it is read once. */
function callMethod(methods, method, node, args) {
  const outer = inside
  inside = 'a method'
  try {
    // Own functions only: `constructor` and `__proto__` are methods only if the application defines them.
    const run = Object.hasOwn(methods, method) ? methods[method] : undefined
    if (typeof run !== 'function') return NO_METHOD
    const returned = Reflect.apply(run, node, args)
    const kind = asynchronousKind(returned)
    if (kind !== null) throw errors.asyncMethod(method, kind)
    return returned
  } finally {
    inside = outer
  }
}

function callConverter(convert, what, value) {
  const outer = inside
  inside = what
  try {
    const converted = convert(value)
    const kind = asynchronousKind(converted)
    if (kind !== null) throw new Error(`it returned ${kind}, but must be synchronous`)
    return converted
  } catch (error) {
    throw new Error(`${what} threw: ${errors.messageOf(error)}`, { cause: error })
  } finally {
    inside = outer
  }
}

/**
 * Whether one of them really runs. A `vm` script whose time is over while it opens a node ends without a `finally`, and
 * `inside` stays as it was.
 */
function isRunning() {
  return [callReducer, callMethod, callConverter].some(isOnStack)
}

/** The trace begins below the function: it is empty if there is no such call. */
function isOnStack(callee) {
  const trace = {}
  const limit = Error.stackTraceLimit
  try {
    Error.stackTraceLimit = 1
    Error.captureStackTrace(trace, callee)
    return typeof trace.stack !== 'string' || /\n\s+at /.test(trace.stack)
  } catch {
    // Traces are replaced or forbidden: then it counts as running.
    return true
  } finally {
    Error.stackTraceLimit = limit
  }
}

/** Describes a value that is not a result yet, such as a promise, whose own rejection is then ignored. */
function asynchronousKind(value) {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return null
  if (typeof value.then === 'function') {
    Promise.resolve(value).catch(noop)
    return 'a promise'
  }
  return typeof value.next === 'function' && isGeneratorObject(value) ? 'a generator' : null
}

/** Throws if JSON does not preserve the initial state. */
function copyOfJson(state) {
  const fault = findFault(state, 0, new Set())
  if (fault === null) return JSON.parse(JSON.stringify(state))
  throw errors.initialStateOption(
    `"initialState"${cut(fault.path)} ${fault.why}; keep JSON values in the state, or use snapshot: { serialize, deserialize }`
  )
}

/** A method may be a getter, which is not called here. */
function ownValue(methods, name) {
  return Object.getOwnPropertyDescriptor(methods, name)?.value
}

class Application {
  #methods
  #reduce
  #serialize
  #deserialize
  /** The option: a value, a function that makes one, or undefined. */
  #initialState
  /** Protects what the reducer returns, or null. */
  #check = null
  /** Whether an action is reduced by strict-mode code of conflux alone. */
  #isStrict
  /** The names of methods that are conflux's own, in strict mode. */
  #strictMethods
  #run = (state, action) => callReducer(this.#reduce, state, action)

  constructor({ methods, reduce, initialState, snapshot, checkState = true }) {
    this.#methods = methods
    this.#reduce = reduce
    this.#isStrict = strictActionsOf(reduce)
    this.#strictMethods = new Set(
      Object.keys(methods).filter(name => isStrictMethod(ownValue(methods, name)))
    )
    this.#initialState = initialState
    this.#serialize = snapshot.serialize
    this.#deserialize = snapshot.deserialize
    if (checkState) this.#check = new StateCheck(!this.serializes)
  }

  /** The option of this name; without it, the reducer is asked. */
  initialState() {
    if (this.#initialState !== undefined) return this.#givenInitialState()
    const state = this.#reduceInitialState()
    try {
      this.#check?.protect(state)
    } catch (error) {
      throw errors.initialStateFault(error)
    }
    return state
  }

  #givenInitialState() {
    const given = this.#initialState
    let state
    try {
      state = typeof given === 'function' ? callConverter(given, '"initialState"', undefined) : given
    } catch (error) {
      throw errors.initialStateOption(error.message, error.cause)
    }
    // Frozen or changed in place, it would be the application's own object.
    if (this.#check !== null && !this.serializes) state = copyOfJson(state)
    this.freezerOf(state)?.run(Infinity)
    return state
  }

  /** `reduce(undefined, null)`, as in 1.x; for a reducer that reads `action.type`, what Redux would send. */
  #reduceInitialState() {
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
    if (this.#isStrict(action)) return this.#check.reduceStrictly(this.#run, state, action)
    return this.#check.reduce(this.#run, state, action, isCommitted)
  }

  /** Whether the state is kept in another shape than its own. */
  get serializes() {
    return this.#serialize !== undefined
  }

  /** Whether changing a state in place is prevented. */
  get isProtected() {
    return this.#check !== null
  }

  /** The serialized state. Throws what `serialize` throws. */
  serialize(state) {
    return this.serializes ? callConverter(this.#serialize, '`serialize`', state) : state
  }

  /** The state from a serialized one, not frozen. Throws what `deserialize` throws. */
  deserialize(value) {
    return this.serializes ? callConverter(this.#deserialize, '`deserialize`', value) : value
  }

  /** Freezes a state that no check has seen, in slices; null if it is not to be frozen. */
  freezerOf(state) {
    return this.#check === null ? null : new StateFreezer(state, undefined, !this.serializes)
  }

  /** What the method returned. `NO_METHOD` if there is none. Throws what it throws, or if it changed the state in place. */
  call(node, method, args) {
    if (this.#check === null || this.#isStrictMethod(method)) {
      return callMethod(this.#methods, method, node, args)
    }
    return this.#check.call(() => callMethod(this.#methods, method, node, args))
  }

  /** The application may have replaced it. */
  #isStrictMethod(name) {
    return this.#strictMethods.has(name) && isStrictMethod(ownValue(this.#methods, name))
  }

  hasMethod(name) {
    return Object.hasOwn(this.#methods, name) && typeof this.#methods[name] === 'function'
  }

  /** A state, in the form that the running function may see. */
  show(state) {
    return this.#check === null ? state : this.#check.show(state)
  }

  /** Throws if a function of an application is running that only computes. */
  forbidInside(what) {
    if (inside === null) return
    if (isRunning()) throw errors.reentrant(what, inside)
    inside = null
  }
}

module.exports = { Application, NO_METHOD }
