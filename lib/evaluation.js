// Evaluates a call on the leader: runs the method, then the reducer, and encodes the result for the core.
//
// Nothing that an application's code does leaves this module except as an answer.

'use strict'

const { NO_METHOD } = require('./application')
const { Buffer } = require('./environment')
const errors = require('./errors')
const { encode, encodeLoosely, BESIDE_LENGTH_MIN } = require('./json')
const { framesOfApplication } = require('./own-frames')
const { StateError } = require('./state-error')

/**
 * The answers' kinds, which src/js/turn.rs reads: nothing; an action; an error; an error: there is no such method; an
 * action, or null, and what it does to timers; the next time of a timer, or null, and then the same; a large action, whose
 * text travels beside.
 */
const NOTHING = '0'
const ACTION = '1,'
const REFUSED = '2,'
const UNKNOWN = '3,'
const CHANGES = '4,'
const FIRED = '5,'
const ACTION_BESIDE = '6'

/** The methods of every node, which change timers. */
const SCHEDULE = '@@conflux/schedule'
const UNSCHEDULE = '@@conflux/unschedule'

/**
 * The answer, and the provisional state of its action in the store.
 *
 * @param beside receives the text of a large action.
 * @param onThrown called with what the method or the reducer threw by mistake: `'method'` or `'reducer'`, the method's name, and
 *   the error.
 */
function evaluate(application, store, { context, method, args }, beside, onThrown) {
  let text
  let isRefusal = false
  try {
    let returned = application.call(context.handle, method, args)
    if (returned === NO_METHOD) returned = runBuiltIn(context, method, args)
    context.verify(returned)
    if (returned === NO_METHOD) return UNKNOWN + encodeError(errors.unknownMethod(method))
    if (returned === undefined || returned === null) return changeOnly(context)
    isRefusal = errors.isError(returned)
    if (isRefusal) throw returned
    text = encode(returned, 'action')
    if (text === undefined) throw errors.notJson('action', `it is a ${typeof returned}`)
  } catch (error) {
    if (StateError.is(error)) return REFUSED + encodeError(errors.methodState(method, error))
    if (isRefusal || hasCode(error)) return REFUSED + encodeError(error)
    onThrown('method', method, error)
    return REFUSED + encodeError(error, METHOD_THREW)
  }
  // A `toJSON` that returns null means that there is nothing to do.
  if (text === 'null') return changeOnly(context)
  try {
    // Every node, this one included, reduces the decoded text: `{ at: new Date() }` is a string everywhere.
    store.evaluate(JSON.parse(text), text)
  } catch (error) {
    if (StateError.is(error)) return REFUSED + encodeError(errors.reducerState(method, error))
    onThrown('reducer', method, error)
    return REFUSED + encodeError(errors.reducer(method, error), undefined, error)
  }
  const { changes } = context
  if (!changes.isEmpty) return `${CHANGES}${text},${changes.encode()}`
  if (beside === null || text.length < BESIDE_LENGTH_MIN) return ACTION + text
  beside.push(text)
  return ACTION_BESIDE
}

/** There is no action. */
function changeOnly({ changes }) {
  return changes.isEmpty ? NOTHING : `${CHANGES}null,${changes.encode()}`
}

/** The answer to a timer that an earlier evaluation of the batch has changed. */
const UNDECIDED = NOTHING

/** What `node.schedule` and `node.unschedule` run on the leader. */
function runBuiltIn({ changes, at }, method, [name, options]) {
  if (method === SCHEDULE) {
    changes.schedule(name, options, at, false)
    return null
  }
  if (method === UNSCHEDULE) {
    changes.unschedule(name)
    return null
  }
  return NO_METHOD
}

/**
 * The same for the method of a timer.
 *
 * @param next its next time, or null.
 * @param onFailed called with an error: the method has refused, thrown, or is not there.
 */
function evaluateTimer(application, store, call, next, onThrown, onFailed) {
  const answer = evaluate(application, store, call, null, onThrown)
  const rest = answer.slice(2)
  switch (answer.slice(0, 2)) {
    case ACTION:
      return `${FIRED}${next},${rest},[]`
    case CHANGES:
      return `${FIRED}${next},${rest}`
    case REFUSED:
      onFailed(JSON.parse(rest))
      return skipTimer(next)
    case UNKNOWN:
      onFailed(JSON.parse(rest))
      return answer
    default:
      return skipTimer(next)
  }
}

/** The answer to a timer that does nothing this time. */
function skipTimer(next) {
  return `${FIRED}${next},null,[]`
}

/**
 * The same for an action that the leader logs on its own account. If the reducer throws, the action is logged without
 * being reduced on any node.
 */
function evaluateSystem(store, action, onThrown) {
  const text = JSON.stringify(action)
  try {
    store.evaluate(action, text)
  } catch (error) {
    onThrown('reducer', action.type, error)
    return NOTHING
  }
  return ACTION + text
}

/** The answer of a node that evaluates nothing. */
function refuse(error) {
  return REFUSED + encodeError(error)
}

/** The limit of the text of an error: a longer one is reduced to its message and its code. */
const ERROR_BYTES_MAX = 64 * 1024
const MESSAGE_LENGTH_MAX = 8 * 1024

/** A method refuses a call by returning an error, or by throwing one with a code. Other exceptions are mistakes. */
const METHOD_THREW = 'ERR_CONFLUX_METHOD_THREW'

function hasCode(error) {
  try {
    return error.code !== undefined
  } catch {
    return false
  }
}

/** The limit of the stack of the leader: the upper frames name the place. */
const STACK_LENGTH_MAX = 4 * 1024

/** The frames of the application, or undefined: it has no stack. */
function stackOf(error) {
  try {
    const { stack } = error
    if (typeof stack !== 'string') return undefined
    return framesOfApplication(stack).slice(0, STACK_LENGTH_MAX)
  } catch {
    return undefined
  }
}

/**
 * The error as a JSON text: its message, and what own data of it JSON keeps. It never throws itself.
 *
 * @param code if it was thrown by mistake: its code, which it lacks.
 * @param cause what was thrown by mistake.
 */
function encodeError(error, code, cause = code === undefined ? undefined : error) {
  const data = { message: errors.messageOf(error), code }
  if (cause !== undefined) data.remoteStack = stackOf(cause)
  try {
    copyData(error, data)
    const text = JSON.stringify(data)
    if (Buffer.byteLength(text) <= ERROR_BYTES_MAX) return text
    // The stack repeats the message, and is the first to go.
    const shorter = JSON.stringify({ ...data, remoteStack: undefined })
    if (Buffer.byteLength(shorter) <= ERROR_BYTES_MAX) return shorter
  } catch {
    // The error throws when it is read, or its text would exceed the longest string.
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
      // A value that JSON cannot carry stays on the leader.
    }
  }
}

function codeOf(code) {
  return typeof code === 'string' && code.length <= 256 ? code : undefined
}

/** Properties from which an error is rebuilt, or that must not be copied. */
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

/** Without frames: they would be those of this file, and collecting them takes longer than everything else. */
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

module.exports = {
  SCHEDULE,
  UNDECIDED,
  UNSCHEDULE,
  decodeError,
  evaluate,
  evaluateSystem,
  evaluateTimer,
  refuse,
  skipTimer,
  stackOf
}
