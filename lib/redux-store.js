// Shows a node as a store of Redux, whose `dispatch` returns a promise.
//
// Called by redux.js. The store shows the node; its only own state is what middleware needs.

'use strict'

const { Promise } = require('./environment')
const errors = require('./errors')
const { shown } = require('./kind')
const { encode } = require('./json')
const { faultOfAction } = require('./redux-options')

/**
 * @param node one whose methods are those of `storeOptions`, or have its `dispatch`.
 * @param options.middleware as for `applyMiddleware` of Redux.
 */
function toStore(node, options = {}) {
  for (const key of Object.keys(options)) {
    if (key !== 'middleware') throw errors.invalidArgument(`\`toStore\`: the option "${key}" is unknown`)
  }
  const { middleware = [] } = options
  const isMiddleware = Array.isArray(middleware) && middleware.every(one => typeof one === 'function')
  if (!isMiddleware) throw errors.invalidArgument('"middleware" must be an array of functions')
  const listeners = new Listeners(node)
  const base = (action, callOptions) => perform(node, action, callOptions)
  const pipeline = middleware.length === 0 ? undefined : new Pipeline(node, middleware, base)
  const store = {
    dispatch: pipeline === undefined ? base : pipeline.dispatch,
    getState: pipeline === undefined ? node.getState : () => pipeline.getState(),
    subscribe: listener => listeners.add(listener),
    replaceReducer
  }
  makeObservable(store)
  return store
}

function perform(node, action, options) {
  const fault = faultOfAction(action)
  return fault === null
    ? node.perform('dispatch', [action], options)
    : Promise.reject(errors.invalidCall(fault))
}

function replaceReducer() {
  throw errors.invalidArgument(
    'the reducer of a node cannot be replaced while it is open, for all nodes must reduce alike: deploy the new one ' +
      'with another `version`'
  )
}

/** Those of one store, called as Redux calls them. */
class Listeners {
  #node
  #list = []
  /** The list is being iterated, and must not be changed. */
  #isShared = false
  #unsubscribe = undefined

  constructor(node) {
    this.#node = node
  }

  add(listener) {
    if (typeof listener !== 'function')
      throw errors.invalidArgument(`\`subscribe\` takes a function, got ${shown(listener)}`)
    // Once, and only while there are listeners. What has ended changes no more.
    if (this.#list.length === 0 && this.#node.status().state === 'open') {
      this.#unsubscribe = this.#node.subscribe(() => this.#notify())
    }
    const entry = { listener }
    this.#own().push(entry)
    return () => this.#remove(entry)
  }

  #remove(entry) {
    const i = this.#list.indexOf(entry)
    if (i === -1) return
    this.#own().splice(i, 1)
    if (this.#list.length > 0) return
    this.#unsubscribe?.()
    this.#unsubscribe = undefined
  }

  #own() {
    if (this.#isShared) this.#list = [...this.#list]
    this.#isShared = false
    return this.#list
  }

  /** Calls every listener that was subscribed when the action came, even if it unsubscribes meanwhile. */
  #notify() {
    this.#isShared = true
    for (const { listener } of this.#list) {
      try {
        listener()
      } catch (error) {
        errors.surface(error)
      }
    }
  }
}

/**
 * Middleware around a dispatch that takes its time.
 *
 * Middleware of Redux expects the next state when `next` returns. So an action is committed first, and then passes:
 * before `next`, `getState()` gives the state that the middleware saw last; after it, the one with the action. A
 * value that is not an action that could be committed, such as a thunk, passes immediately.
 */
class Pipeline {
  #node
  #base
  #passAtOnce
  #passCommitted
  /** What the middleware has seen of the state. */
  #seen
  #isBeforeNext = false

  constructor(node, middleware, base) {
    this.#node = node
    this.#base = base
    this.#seen = node.getState()
    const api = { getState: () => this.getState(), dispatch: this.dispatch }
    const handlers = middleware.map(one => one(api))
    const chain = last => handlers.reduceRight((next, handler) => handler(next), last)
    this.#passAtOnce = chain(action => base(action))
    this.#passCommitted = chain(action => {
      this.#isBeforeNext = false
      return action
    })
  }

  dispatch = (action, options) => {
    if (!canBeCommitted(action)) return this.#passAtOnce(action)
    return this.#base(action, options).then(committed => this.#pass(committed))
  }

  #pass(action) {
    this.#isBeforeNext = true
    try {
      return this.#passCommitted(action)
    } finally {
      this.#isBeforeNext = false
      this.#seen = this.#node.getState()
    }
  }

  getState() {
    return this.#isBeforeNext ? this.#seen : this.#node.getState()
  }
}

/** An action for middleware contains functions, as `addListener` of Redux Toolkit does. */
function canBeCommitted(action) {
  if (faultOfAction(action) !== null) return false
  try {
    encode(action, 'action')
    return true
  } catch {
    return false
  }
}

/** As Redux does: by the symbol, where a library has defined one, else by the string that stands for it. */
function makeObservable(store) {
  const keys = ['@@observable', Symbol.observable].filter(key => key !== undefined)
  const define = (object, value) => {
    for (const key of keys) Object.defineProperty(object, key, { value })
    return object
  }
  const observable = {
    subscribe(observer) {
      if (typeof observer !== 'object' || observer === null) {
        throw errors.invalidArgument('the observer must be an object')
      }
      const next = () => observer.next?.(store.getState())
      next()
      return { unsubscribe: store.subscribe(next) }
    }
  }
  define(observable, () => observable)
  define(store, () => observable)
}

module.exports = { toStore }
