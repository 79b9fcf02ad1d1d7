// Finds a part of a value that does not survive JSON, and says where it is and what JSON turns it into.
//
// Used by state-text.js for a whole state, and by state-walk.js for the new parts of one.

'use strict'

const { isDate, isMap, isSet, isPromise } = require('node:util').types

/** Far below the limit of `JSON.stringify` (some 4,000), so that all nodes can encode what one node can. */
const DEPTH_MAX = 1000

/** A longer path is cut. */
const PATH_LENGTH_MAX = 120

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

/** The key as a part of a path: `.users`, `["a b"]`. */
function nameOf(key) {
  return /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`
}

function cut(path) {
  return path.length <= PATH_LENGTH_MAX ? path : `${path.slice(0, PATH_LENGTH_MAX)}…`
}

module.exports = {
  Fault,
  findFault,
  describe,
  becomes,
  isOrdinaryArray,
  isOrdinaryObject,
  nameOf,
  cut,
  DEPTH_MAX
}
