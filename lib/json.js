// Encodes arguments and actions as JSON, or reports why that is impossible.
//
// A value is stringified once, and walked once, for what its text does not show.

'use strict'

const { types } = require('node:util')
const { Buffer } = require('./environment')
const errors = require('./errors')
const { becomes } = require('./json-faults')

/** Of the UTF-8 text. */
const BYTES_MAX = 1024 * 1024

/**
 * A text of at least this many characters goes to the core beside the text of its turn, where it is not copied, escaped and
 * scanned once more.
 */
const BESIDE_LENGTH_MIN = 2 * 1024

/** Of an action; the array of arguments around it is one more. The core holds the same (src/js/json.rs). */
const DEPTH_MAX = 64

/**
 * The JSON text of `value`; `undefined` where JSON has nothing (a function, a symbol, `undefined`).
 *
 * Throws where the text would silently be less than the value: what JSON turns into null or {}, or leaves out. A
 * `toJSON` decides itself what is kept; `undefined` counts as absent, and as null in an array.
 *
 * @param what how the errors name the value: `args`, `action`.
 */
function encode(value, what, depthMax = DEPTH_MAX) {
  const text = stringify(value, what, depthMax)
  // No cycle is left now.
  const fault = text === undefined ? null : faultOf(value, text, what, depthMax)
  if (fault !== null) throw fault
  return text
}

/** The same for a value of which JSON may lose a part. */
function encodeLoosely(value, what, depthMax = DEPTH_MAX) {
  const text = stringify(value, what, depthMax)
  if (text !== undefined) checkDepth(text, what, depthMax)
  return text
}

function stringify(value, what, depthMax) {
  let text
  try {
    text = JSON.stringify(value)
  } catch (error) {
    throw explain(value, what, error, depthMax)
  }
  // No character has more than 3 bytes.
  if (text !== undefined && text.length * 3 > BYTES_MAX) checkSize(text, what)
  return text
}

/** The levels that the walk may still go down, and whether a `toJSON` hid levels from it. */
let levelsLeft = 0
let hasHiddenLevels = false

const TOO_DEEP = { path: '', why: 'is nested too deep' }

/** The error that names the first thing that JSON would lose, or more levels than are allowed; or null. */
function faultOf(value, text, what, depthMax) {
  try {
    if (isFlat(value)) return null
  } catch {
    // As below, which reports it.
  }
  // An accessor of the value may encode another one meanwhile.
  const outerLevels = levelsLeft
  const outerHidden = hasHiddenLevels
  levelsLeft = depthMax
  hasHiddenLevels = false
  try {
    const loss = findLoss(value)
    if (loss?.why === TOO_DEEP.why) return errors.tooDeep(what, depthMax)
    if (loss !== null) return errors.notJson(what + loss.path, `it ${loss.why}`)
    // The walk counts values, and the text may have far more characters.
    if (hasHiddenLevels) checkDepth(text, what, depthMax)
    return null
  } catch (error) {
    if (error?.code === 'ERR_CONFLUX_TOO_DEEP') return error
    // An accessor, or a trap, that gave something before.
    return errors.notJson(what, errors.messageOf(error))
  } finally {
    levelsLeft = outerLevels
    hasHiddenLevels = outerHidden
  }
}

/** Whether it is an ordinary array or object that holds only primitive values, and all of these: most are. */
function isFlat(value) {
  if (typeof value !== 'object' || value === null) return false
  if (isPlainArray(value)) {
    for (let i = 0; i < value.length; i++) if (!isKept(value[i])) return false
    return true
  }
  if (!isPlainObject(value)) return false
  for (const key in value) if (!isKept(value[key])) return false
  return true
}

// Reading the constructor is several times faster than reading the prototype. Both may miss an ordinary one, which is then
// recognized by its prototype.

function isPlainArray(value) {
  return Array.isArray(value) && value.constructor === Array && value.toJSON === undefined
}

function isPlainObject(value) {
  if (value.constructor !== Object || value.toJSON !== undefined) return false
  // An iterator of a `Map` may have this constructor, but it has no members.
  for (const _ in value) return true
  return false
}

function isKept(value) {
  return typeof value === 'number'
    ? Number.isFinite(value)
    : typeof value === 'string' || typeof value === 'boolean' || value === null || value === undefined
}

function checkDepth(text, what, depthMax) {
  // No level of nesting has less than 2 characters.
  if (text.length > 2 * depthMax && depthOf(text) > depthMax) throw errors.tooDeep(what, depthMax)
}

/** Reads only the values of a valid object: this runs for every call and action. */
function findLoss(value) {
  switch (typeof value) {
    case 'string':
    case 'boolean':
    case 'undefined':
      return null
    case 'number':
      return Number.isFinite(value) ? null : { path: '', why: `is ${value}, which JSON turns into null` }
    case 'object':
      return value === null ? null : findLossOfObject(value)
    case 'bigint':
      // Its prototype has a `toJSON`, or it would have thrown.
      return null
    default:
      return saysWhatIsKept(value)
        ? null
        : { path: '', why: `is a ${typeof value}, which JSON does not know` }
  }
}

function findLossOfObject(value) {
  if (levelsLeft-- === 0) return saysWhatIsKept(value) ? null : TOO_DEEP
  const loss = isPlainObject(value)
    ? findLossOfMembers(value)
    : isPlainArray(value)
      ? findLossOfItems(value)
      : findLossByPrototype(value)
  levelsLeft++
  return loss === null || saysWhatIsKept(value) ? null : loss
}

function findLossByPrototype(value) {
  switch (Object.getPrototypeOf(value)) {
    case Object.prototype:
      return findLossOfMembers(value)
    case Array.prototype:
      return findLossOfItems(value)
    default:
      return findLossOfInstance(value)
  }
}

function saysWhatIsKept(value) {
  if (typeof value.toJSON !== 'function') return false
  hasHiddenLevels = true
  return true
}

function findLossOfItems(array) {
  for (let i = 0; i < array.length; i++) {
    const loss = findLoss(array[i])
    if (loss !== null) return { path: `[${i}]${loss.path}`, why: loss.why }
  }
  return null
}

function findLossOfMembers(object) {
  for (const key in object) {
    const loss = findLoss(object[key])
    if (loss === null || !Object.hasOwn(object, key)) continue
    return { path: pathTo('', key, object) + loss.path, why: loss.why }
  }
  return null
}

/** A class instance becomes a plain object, which is what it has to be. */
function findLossOfInstance(value) {
  if (saysWhatIsKept(value)) return null
  if (types.isArrayBufferView(value)) return { path: '', why: becomes(value, 'an ordinary object') }
  if (hasHiddenContent(value)) return { path: '', why: becomes(value, '{}') }
  return Array.isArray(value) ? findLossOfItems(value) : findLossOfMembers(value)
}

/** Of any realm: its content is not in its properties. A class instance has them, and becomes a plain object. */
function hasHiddenContent(value) {
  return (
    types.isMap(value) ||
    types.isSet(value) ||
    types.isWeakMap(value) ||
    types.isWeakSet(value) ||
    types.isAnyArrayBuffer(value) ||
    types.isPromise(value) ||
    types.isRegExp(value) ||
    types.isNativeError(value) ||
    types.isSymbolObject(value) ||
    types.isGeneratorObject(value) ||
    types.isMapIterator(value) ||
    types.isSetIterator(value)
  )
}

function checkSize(text, what) {
  const bytes = Buffer.byteLength(text)
  if (bytes > BYTES_MAX) throw errors.tooLarge(what, bytes, BYTES_MAX)
}

const QUOTE = 34
const BACKSLASH = 92
const OPEN_ARRAY = 91
const CLOSE_ARRAY = 93
const OPEN_OBJECT = 123
const CLOSE_OBJECT = 125

/** The depth of a valid JSON text, counted, not recursed. */
function depthOf(text) {
  let depth = 0
  let deepest = 0
  for (let i = 0; i < text.length; i++) {
    switch (text.charCodeAt(i)) {
      case OPEN_ARRAY:
      case OPEN_OBJECT:
        if (++depth > deepest) deepest = depth
        break
      case CLOSE_ARRAY:
      case CLOSE_OBJECT:
        depth--
        break
      case QUOTE:
        for (i++; text.charCodeAt(i) !== QUOTE; i++) if (text.charCodeAt(i) === BACKSLASH) i++
    }
  }
  return deepest
}

/** Names the part of `value` that `JSON.stringify` threw at. */
function explain(value, what, thrown, depthMax) {
  try {
    return find(value, '', what, [], depthMax) ?? errors.notJson(what, errors.messageOf(thrown))
  } catch (error) {
    // A getter or `toJSON` threw again.
    return errors.notJson(what, errors.messageOf(error))
  }
}

function find(value, key, path, ancestors, depthMax) {
  if (typeof value?.toJSON === 'function') value = value.toJSON(key)
  if (typeof value === 'bigint') return errors.notJson(path, 'it is a BigInt')
  if (typeof value !== 'object' || value === null) return undefined
  if (ancestors.includes(value)) return errors.notJson(path, 'it contains itself')
  if (ancestors.length === depthMax) return errors.tooDeep(path.slice(0, 60), depthMax)
  ancestors.push(value)
  for (const key of Object.keys(value)) {
    const fault = find(value[key], key, pathTo(path, key, value), ancestors, depthMax)
    if (fault !== undefined) return fault
  }
  ancestors.pop()
  return undefined
}

function pathTo(path, key, parent) {
  if (Array.isArray(parent)) return `${path}[${key}]`
  return /^[\w$]+$/.test(key) ? `${path}.${key}` : `${path}[${JSON.stringify(key)}]`
}

module.exports = { encode, encodeLoosely, BESIDE_LENGTH_MIN, BYTES_MAX, DEPTH_MAX }
