// This file makes every error that the façade itself can meet, each with its stable code.
//
// The core's own are in src/error.rs and arrive with their code and text. An error's `name` stays `Error`; what an
// application branches on is `code`, and for a call `outcome`: `refused`, `not-applied` or `unknown`.

'use strict'

const { isNativeError } = require('node:util').types
const { nextTick } = require('./environment')

const failure = (code, message, facts) => Object.assign(new Error(message), { code }, facts)

const REFUSED = { outcome: 'refused' }
const NOT_APPLIED = { outcome: 'not-applied' }

/** What became of a call whose caller waits no longer. */
const AFTERWARDS = { unknown: 'it may still be committed', 'not-applied': 'it was not sent, and will not be' }

const because = waitingFor => (waitingFor === null ? '' : `: ${waitingFor}`)

/** Their code is Node's. */
const aborts = new WeakSet()

const OUTCOMES = new Set(['refused', 'not-applied', 'unknown'])

module.exports = {
  invalidOptions: faults =>
    failure('ERR_CONFLUX_INVALID_OPTIONS', `Invalid options: ${faults.join(', ')}`, { faults }),

  /** What the core's edge threw: its text begins with the code (src/js/mod.rs). */
  notOpened: error => {
    const [, code, message] = /^(ERR_CONFLUX_\w+) (.*)$/s.exec(messageOf(error)) ?? []
    if (code === undefined) return module.exports.internal(error)
    if (code === 'ERR_CONFLUX_INVALID_OPTIONS') return module.exports.invalidOptions([message])
    return failure(code, message)
  },

  noBinary: (message, cause) => failure('ERR_CONFLUX_NO_BINARY', message, { cause }),

  /** For what is thrown at once. */
  invalidArgument: message =>
    Object.assign(new TypeError(message), { code: 'ERR_CONFLUX_INVALID_ARGUMENT', ...NOT_APPLIED }),

  /** For what a promise rejects with: its `name` stays `Error`, too. */
  invalidCall: message => failure('ERR_CONFLUX_INVALID_ARGUMENT', message, NOT_APPLIED),

  /** Something threw before the call was recorded: the end of the stack, or a getter of an option. */
  notStarted: (what, cause) =>
    failure('ERR_CONFLUX_NOT_STARTED', `\`${what}\` did not begin: ${messageOf(cause)}`, {
      ...NOT_APPLIED,
      cause
    }),

  notJson: (path, why) => failure('ERR_CONFLUX_NOT_JSON', `${path} is not JSON: ${why}`, { path }),

  tooLarge: (what, bytes, bytesMax) =>
    failure('ERR_CONFLUX_TOO_LARGE', `${what} has ${bytes} bytes as JSON; at most ${bytesMax} are allowed`, {
      bytes,
      bytesMax
    }),

  tooDeep: (what, depthMax) =>
    failure('ERR_CONFLUX_TOO_DEEP', `${what} nests arrays and objects deeper than ${depthMax}`, { depthMax }),

  busy: (count, characters) =>
    failure(
      'ERR_CONFLUX_BUSY',
      `${count} performs of this node are pending (${characters} characters of arguments); try again later`,
      NOT_APPLIED
    ),

  busyAsking: count =>
    failure(
      'ERR_CONFLUX_BUSY',
      `${count} calls of this node wait for the cluster; try again later`,
      NOT_APPLIED
    ),

  timeout: (method, timeout, outcome, waitingFor) =>
    failure(
      'ERR_CONFLUX_TIMEOUT',
      `performing \`${method}\`: no outcome within ${timeout} ms${because(waitingFor)}; ${AFTERWARDS[outcome]}`,
      { outcome, method, timeout, waitingFor }
    ),

  /** As Node's own calls end: by this name and code, with the signal's reason as the cause. */
  aborted: (what, outcome, cause) => {
    const error = failure('ABORT_ERR', `${what}: the call was aborted`, { outcome, cause })
    Object.defineProperty(error, 'name', { value: 'AbortError', writable: true, configurable: true })
    aborts.add(error)
    return error
  },

  notReady: (timeout, waitingFor) =>
    failure('ERR_CONFLUX_TIMEOUT', `this node is not ready after ${timeout} ms${because(waitingFor)}`, {
      timeout,
      waitingFor
    }),

  /** The state of a node with storage is read too early. */
  notReplayed: () =>
    failure(
      'ERR_CONFLUX_NOT_READY',
      'the state cannot be read before the log on disk is replayed; `await node.ready()` waits for that'
    ),

  closed: outcome =>
    failure(
      'ERR_CONFLUX_CLOSED',
      outcome === 'unknown' ? 'this node was closed while the call was on its way' : 'this node is closed',
      { outcome }
    ),

  /** What a call of a failed node ends with: the failure, and what became of this call. */
  failed: (error, outcome) =>
    failure(error.code, `this node failed: ${error.message}`, { outcome, cause: error }),

  reentrant: (what, inside) =>
    failure(
      'ERR_CONFLUX_REENTRANT',
      `\`${what}\` was called inside ${inside}; methods and reducers only compute`,
      NOT_APPLIED
    ),

  unknownMethod: method =>
    failure('ERR_CONFLUX_UNKNOWN_METHOD', `${method} is not a registered method`, REFUSED),

  /** @param kind what it returned: `a promise`, `a generator`. */
  asyncMethod: (method, kind) =>
    failure(
      'ERR_CONFLUX_ASYNC_METHOD',
      `the method \`${method}\` returned ${kind}; methods must be synchronous`,
      REFUSED
    ),

  /** The reducer threw at evaluation: the action is not logged, and the state stays. */
  reducer: (method, error) =>
    failure(
      'ERR_CONFLUX_REDUCER',
      `the reducer threw on the action of \`${method}\`: ${messageOf(error)}`,
      REFUSED
    ),

  /** The reducer did to the state what it must not do: likewise. */
  reducerState: (method, { message, path }) =>
    failure('ERR_CONFLUX_REDUCER', `the reducer failed on the action of \`${method}\`: ${message}`, {
      ...REFUSED,
      path
    }),

  methodState: (method, { message, path }) =>
    failure('ERR_CONFLUX_REDUCER', `the method \`${method}\` failed: ${message}`, { ...REFUSED, path }),

  asyncReducer: kind =>
    failure('ERR_CONFLUX_REDUCER', `the reducer returned ${kind}; reducers must be synchronous`),

  initialState: cause =>
    failure('ERR_CONFLUX_REDUCER', `the reducer threw while making the initial state: ${messageOf(cause)}`, {
      cause
    }),

  initialStateFault: ({ message, path }) =>
    failure('ERR_CONFLUX_REDUCER', `the reducer made an initial state that is not JSON: ${message}`, {
      path
    }),

  /** The option `initialState` gives none. */
  initialStateOption: (fault, cause) =>
    failure(
      'ERR_CONFLUX_INVALID_OPTIONS',
      `Invalid options: ${fault}`,
      cause === undefined ? { faults: [fault] } : { faults: [fault], cause }
    ),

  /** This node performed what is committed, and cannot say what the state makes of it. */
  notApplied: ({ index, action, cause }) =>
    failure(
      'ERR_CONFLUX_DIVERGED',
      `this node's state ends before index ${index}, and the action of this perform is not in it: ${messageOf(cause)}`,
      { outcome: 'unknown', index, action, cause }
    ),

  internal: cause =>
    failure('ERR_CONFLUX_INTERNAL', `a bug in conflux ended this node: ${messageOf(cause)}`, { cause }),

  /** A failure described by the core. */
  core: (code, message, facts) => failure(code, message, facts),

  isOwn,

  /** Whether it says what became of a call. Also of another realm, or made by another copy of conflux. */
  isOfPerform: error => {
    try {
      return module.exports.isError(error) && typeof error.code === 'string' && OUTCOMES.has(error.outcome)
    } catch {
      return false
    }
  },

  /** Errors cross realms (Jest, `vm`), where `instanceof` alone fails. */
  isError: value => isNativeError(value) || value instanceof Error,

  messageOf,

  /** What a listener throws is its application's: it surfaces as an uncaught exception, once all others have run. */
  surface: error =>
    nextTick(() => {
      throw error
    })
}

/** Whether it is one of these. Others are an application's, or the engine's, and may throw when they are looked at. */
function isOwn(thrown) {
  try {
    return aborts.has(thrown) || String(thrown.code).startsWith('ERR_CONFLUX_')
  } catch {
    return false
  }
}

/** A text for whatever was thrown. It never throws itself. */
function messageOf(thrown) {
  try {
    const message = thrown?.message
    return typeof message === 'string' ? message : String(thrown)
  } catch {
    return 'something without a text was thrown'
  }
}
