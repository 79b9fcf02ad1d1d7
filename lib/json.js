// This file makes the JSON text of arguments and actions, or says what stands in the way.
//
// A value is stringified once; the faults are looked for only when there is one.

'use strict'

const { Buffer } = require('./environment')
const errors = require('./errors')

/** Of the UTF-8 text. */
const BYTES_MAX = 1024 * 1024

/** Of an action; the array of arguments around it is one more. The core holds the same (src/js/json.rs). */
const DEPTH_MAX = 64

/**
 * The JSON text of `value`; `undefined` where JSON has nothing (a function, a symbol, `undefined`).
 *
 * @param what how the errors name the value: `args`, `action`.
 */
function encode(value, what, depthMax = DEPTH_MAX) {
  let text
  try {
    text = JSON.stringify(value)
  } catch (error) {
    throw explain(value, what, error, depthMax)
  }
  if (text === undefined) return undefined
  // No character has more than 3 bytes, and no level of nesting less than 2 characters.
  if (text.length * 3 > BYTES_MAX) checkSize(text, what)
  if (text.length > 2 * depthMax && depthOf(text) > depthMax) throw errors.tooDeep(what, depthMax)
  return text
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

module.exports = { encode, BYTES_MAX, DEPTH_MAX }
