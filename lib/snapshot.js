// This file makes the text of a state for a snapshot or a hash, and says what of the state JSON would not give back.
//
// Called by node.js. It blocks JavaScript: `JSON.stringify`, then one walk over the state, which is less.

'use strict'

const { isDate, isMap, isSet, isPromise } = require('node:util').types
const errors = require('./errors')

/** Far below what `JSON.stringify` can (some 4,000), so that all nodes can what one can. */
const DEPTH_MAX = 1000

/** A longer path is cut. */
const PATH_LENGTH_MAX = 120

/**
 * The text of the state, or why there is none.
 *
 * What JSON keeps except for a shade is kept: `-0` becomes 0, a property whose value is `undefined` is gone. What is
 * more than its values is not: an array's further properties, accessors, what is not enumerable.
 *
 * @returns {{ text: string | null, why: string | null, micros: number }} `micros`: how long it took.
 */
function take(application, state) {
  const start = performance.now()
  let text = null
  let why = null
  try {
    const value = application.serialize(state)
    const path = application.serializes ? 'serialize(state)' : 'state'
    text = stringify(value)
    const fault = text === null ? explain(value) : findFault(value, 0, null)
    if (fault !== null) {
      text = null
      const advice = application.serializes
        ? '`serialize` must return what JSON keeps'
        : 'use snapshot: { serialize, deserialize }'
      why = `${cut(path + fault.path)} ${fault.why}; ${advice}`
    }
  } catch (error) {
    text = null
    why = errors.messageOf(error)
  }
  return { text, why, micros: Math.round((performance.now() - start) * 1000) }
}

/** The state again. Throws where the text is not JSON (null: not even text), or `deserialize` throws. */
function read(application, text) {
  if (text === null) throw new Error('it is not text')
  return application.deserialize(JSON.parse(text))
}

function stringify(value) {
  try {
    return JSON.stringify(value) ?? null
  } catch {
    return null
  }
}

/** Why `JSON.stringify` gives nothing. Only now is it worth remembering the way, to find a cycle. */
function explain(value) {
  return (
    findFault(value, 0, new Set()) ??
    new Fault('cannot become one string: it is too long, or a `toJSON` threw')
  )
}

/** What JSON does not keep, and where. */
class Fault {
  path = ''
  constructor(why) {
    this.why = why
  }

  below(key) {
    this.path = key + this.path
    return this
  }
}

/** The first fault, or null. `ancestors` are the objects around the value; null where there can be no cycle. */
function findFault(value, depth, ancestors) {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return null
    case 'number':
      return Number.isFinite(value) ? null : new Fault(`is ${value}, which JSON turns into null`)
    case 'undefined':
      return new Fault('is undefined, which JSON does not know')
    case 'bigint':
      return new Fault('is a BigInt, which JSON does not know')
    case 'object':
      return value === null ? null : findFaultOfObject(value, depth, ancestors)
    default:
      return new Fault(`is a ${typeof value}, which JSON does not know`)
  }
}

function findFaultOfObject(value, depth, ancestors) {
  if (depth === DEPTH_MAX) return new Fault(`nests deeper than ${DEPTH_MAX} levels`)
  if (ancestors !== null) {
    if (ancestors.has(value)) return new Fault('contains itself, which JSON cannot say')
    ancestors.add(value)
  }
  const fault = Array.isArray(value)
    ? findFaultOfItems(value, depth, ancestors)
    : findFaultOfMembers(value, depth, ancestors)
  if (ancestors !== null) ancestors.delete(value)
  return fault
}

function findFaultOfItems(array, depth, ancestors) {
  if (!isOrdinaryArray(array)) return new Fault(becomes(array, 'an ordinary array'))
  for (let i = 0; i < array.length; i++) {
    const fault = findFault(array[i], depth + 1, ancestors)
    if (fault !== null) return fault.below(`[${i}]`)
  }
  return null
}

function findFaultOfMembers(object, depth, ancestors) {
  if (!isOrdinaryObject(object)) return new Fault(describe(object))
  const [symbol] = Object.getOwnPropertySymbols(object)
  if (symbol !== undefined) return new Fault(`has the key ${String(symbol)}, which JSON leaves out`)
  for (const key of Object.keys(object)) {
    const value = object[key]
    if (value === undefined) continue
    const fault = findFault(value, depth + 1, ancestors)
    if (fault !== null) return fault.below(nameOf(key))
  }
  return null
}

/** Of any realm: only `Array.prototype` is itself an array. */
function isOrdinaryArray(array) {
  const prototype = Object.getPrototypeOf(array)
  return prototype === Array.prototype || Array.isArray(prototype)
}

/** Of any realm: only `Object.prototype` has no prototype and this function. */
function isOrdinaryObject(object) {
  const prototype = Object.getPrototypeOf(object)
  if (prototype === Object.prototype) return true
  return (
    prototype !== null &&
    Object.getPrototypeOf(prototype) === null &&
    Object.hasOwn(prototype, 'propertyIsEnumerable')
  )
}

function describe(object) {
  if (isDate(object)) return becomes(object, 'a string')
  if (isMap(object) || isSet(object) || isPromise(object)) return becomes(object, '{}')
  if (Object.getPrototypeOf(object) === null) return 'has no prototype, and comes back from JSON with one'
  if (typeof object.toJSON === 'function') return becomes(object, 'what its `toJSON` returns')
  return becomes(object, 'an ordinary object')
}

function becomes(object, what) {
  const name = object.constructor?.name
  const kind = typeof name === 'string' && name !== '' ? name : 'class instance'
  return `is ${/^[AEIO]/.test(kind) ? 'an' : 'a'} ${kind}, which JSON turns into ${what}`
}

function nameOf(key) {
  return /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`
}

function cut(path) {
  return path.length <= PATH_LENGTH_MAX ? path : `${path.slice(0, PATH_LENGTH_MAX)}…`
}

module.exports = { take, read, DEPTH_MAX }
