// Makes the options of a node from what Redux knows: a reducer, or slices of Redux Toolkit.
//
// Called by redux.js. Every action goes through one method, `dispatch`: its type says which reducer it is for, so that
// actions of two slices may have the same name.

'use strict'

const errors = require('./errors')
const { isOrdinaryObject } = require('./json-faults')

const { hasOwn, keys } = Object

/** As no reducer handles it, it answers with the state that it is given, or its first. The same on all nodes. */
const INIT = Object.freeze({ type: '@@conflux/INIT' })

/**
 * `{ initialState, methods: { dispatch }, reduce }`.
 *
 * @param source a reducer; a slice; an array of slices; or an object whose keys are those of the state, and whose
 *   values are reducers or slices.
 * @param options.preloadedState the state to begin with, as in Redux.
 */
function storeOptions(source, options = {}) {
  for (const key of keys(options)) {
    if (key !== 'preloadedState')
      throw errors.invalidArgument(`\`storeOptions\`: the option "${key}" is unknown`)
  }
  const reducer = reducerOf(source)
  const { preloadedState } = options
  return {
    initialState: () => reducer(preloadedState, INIT),
    methods: { dispatch },
    reduce: (state, action) => reducer(state, action)
  }
}

/** Runs on the leader. */
function dispatch(action) {
  const fault = faultOfAction(action)
  return fault === null ? action : new TypeError(fault)
}

/** In words, or null. */
function faultOfAction(action) {
  if (!isPlainObject(action)) {
    const hint =
      typeof action === 'function' ? '; a function needs a middleware, such as that of redux-thunk' : ''
    return `an action must be a plain object with a "type", got ${kindOf(action)}${hint}`
  }
  if (typeof action.type === 'string') return null
  return `the "type" of an action must be a string, got ${kindOf(action.type)}`
}

function isPlainObject(value) {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  return Object.getPrototypeOf(value) === null || isOrdinaryObject(value)
}

function kindOf(value) {
  if (value === null || value === undefined) return String(value)
  if (typeof value !== 'object') return `a value of type ${typeof value}`
  return Array.isArray(value) ? 'an array' : 'an object of a class'
}

const isSlice = value => typeof value === 'object' && value !== null && typeof value.reducer === 'function'

const TAKES =
  '`storeOptions` takes a reducer, a slice, an array of slices, or an object of reducers and slices'

function reducerOf(source) {
  if (typeof source === 'function') return source
  if (isSlice(source)) return source.reducer
  if (Array.isArray(source)) return combine(partsOf(source))
  if (!isPlainObject(source) || keys(source).length === 0) {
    throw errors.invalidArgument(`${TAKES}; got ${kindOf(source)}`)
  }
  return combine(keys(source).map(key => [key, partOf(key, source[key])]))
}

function partOf(key, value) {
  if (typeof value === 'function') return value
  if (isSlice(value)) return value.reducer
  throw errors.invalidArgument(`${TAKES}; "${key}" is ${kindOf(value)}`)
}

/** Each at the key that `combineSlices` of Redux Toolkit would give it. */
function partsOf(slices) {
  const parts = new Map()
  for (const slice of slices) {
    if (!isSlice(slice)) throw errors.invalidArgument(`${TAKES}; the array has ${kindOf(slice)}`)
    const key = slice.reducerPath ?? slice.name
    if (parts.has(key)) throw errors.invalidArgument(`\`storeOptions\`: two slices are called "${key}"`)
    parts.set(key, slice.reducer)
  }
  if (parts.size === 0) throw errors.invalidArgument(`${TAKES}; got an empty array`)
  return [...parts]
}

/** One reducer of many, each for its key. The state stays the same object where none changes its part. */
function combine(parts) {
  return (state, action) => {
    const next = {}
    // What a former version of the reducers kept at another key is dropped.
    let hasChanged = state === undefined || keys(state).length !== parts.length
    for (const [key, reducer] of parts) {
      const before = state !== undefined && hasOwn(state, key) ? state[key] : undefined
      next[key] = reducer(before, action)
      if (next[key] === undefined) {
        throw new TypeError(`the reducer of "${key}" returned undefined for the action "${action.type}"`)
      }
      hasChanged ||= next[key] !== before
    }
    return hasChanged ? next : state
  }
}

module.exports = { faultOfAction, storeOptions }
