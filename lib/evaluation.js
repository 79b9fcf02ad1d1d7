// Evaluates a call on the leader: runs the method, then the reducer, and encodes the result for the core.
//
// Nothing that an application's code does leaves this module except as an answer.

'use strict'

const { NO_METHOD } = require('./application')
const { Buffer } = require('./environment')
const errors = require('./errors')
const { encode, encodeLoosely } = require('./json')
const { StateError } = require('./state-error')

/** The answers' kinds, which src/js/turn.rs reads: nothing; an action; an error; an error: there is no such method. */
const NOTHING = '0'
const ACTION = '1,'
const REFUSED = '2,'
const UNKNOWN = '3,'

/** The answer, and the provisional state of its action in the store. */
function evaluate(application, store, node, method, args) {
  let text
  try {
    const returned = application.call(node, method, args)
    if (returned === NO_METHOD) return UNKNOWN + encodeError(errors.unknownMethod(method))
    if (returned === undefined || returned === null) return NOTHING
    if (errors.isError(returned)) throw returned
    text = encode(returned, 'action')
    if (text === undefined) throw errors.notJson('action', `it is a ${typeof returned}`)
  } catch (error) {
    return REFUSED + encodeError(StateError.is(error) ? errors.methodState(method, error) : error)
  }
  // A `toJSON` that returns null means that there is nothing to do.
  if (text === 'null') return NOTHING
  try {
    // Every node reduces the decoded text, this one too: `{ at: new Date() }` is a string everywhere.
    store.evaluate(JSON.parse(text))
  } catch (error) {
    const isOfState = StateError.is(error)
    return (
      REFUSED + encodeError(isOfState ? errors.reducerState(method, error) : errors.reducer(method, error))
    )
  }
  return ACTION + text
}

/** The answer of a node that evaluates nothing. */
function refuse(error) {
  return REFUSED + encodeError(error)
}

/** Of the text of an error: what others see of it is more than its message and its code only up to here. */
const ERROR_BYTES_MAX = 64 * 1024
const MESSAGE_LENGTH_MAX = 8 * 1024

/** The error as a JSON text: its message, and what own data of it JSON keeps. It never throws itself. */
function encodeError(error) {
  const data = { message: errors.messageOf(error) }
  try {
    copyData(error, data)
    const text = JSON.stringify(data)
    if (Buffer.byteLength(text) <= ERROR_BYTES_MAX) return text
  } catch {
    // It does not let itself be looked at, or would be the longest of all strings.
  }
  return JSON.stringify({ message: data.message.slice(0, MESSAGE_LENGTH_MAX), code: codeOf(data.code) })
}

function copyData(error, data) {
  const keys = typeof error === 'object' && error !== null ? Object.keys(error) : []
  for (const key of keys) {
    if (IDENTITY.has(key)) continue
    try {
      // The array leaves room for the object that all will stand in, and makes nothing of what JSON has nothing for.
      const [value] = JSON.parse(encodeLoosely([error[key]], key))
      if (value !== null) data[key] = value
    } catch {
      // What JSON can't carry stays here, on the leader.
    }
  }
}

function codeOf(code) {
  return typeof code === 'string' && code.length <= 256 ? code : undefined
}

/** What an error is rebuilt with, or what must not be carried over. */
const IDENTITY = new Set(['message', 'name', 'stack', 'outcome', '__proto__'])

/** The error again, on the calling node. */
function decodeError(data) {
  const error = withoutFrames(errors.messageOf(data))
  error.code = 'ERR_CONFLUX_REFUSED'
  for (const key of Object.keys(data)) if (!IDENTITY.has(key)) error[key] = data[key]
  error.outcome = 'refused'
  error.stack = `Error: ${error.message}`
  return error
}

/** The frames would be those of this file: to find them takes longer than all the rest. */
function withoutFrames(message) {
  const limit = Error.stackTraceLimit
  try {
    Error.stackTraceLimit = 0
    return new Error(message)
  } catch {
    // It is frozen.
    return new Error(message)
  } finally {
    if (Error.stackTraceLimit !== limit) Error.stackTraceLimit = limit
  }
}

module.exports = { evaluate, refuse, decodeError }
