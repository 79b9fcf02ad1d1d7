// Creates every error that the façade itself detects, each with its stable code.
//
// The core's errors are in src/error.rs and arrive with their code and text. An error's `name` stays `Error`; an
// application branches on `code`, and for a call on `outcome`: `refused`, `not-applied` or `unknown`.

'use strict'

const { isNativeError } = require('node:util').types
const { nextTick } = require('./environment')

const failure = (code, message, facts) => Object.assign(new Error(message), { code }, facts)

const REFUSED = { outcome: 'refused' }
const NOT_APPLIED = { outcome: 'not-applied' }

/** The state of a call whose caller has stopped waiting. */
const AFTERWARDS = { unknown: 'the action may still be committed', 'not-applied': 'the call was never sent' }

const because = waitingFor => (waitingFor === null ? '' : `: ${waitingFor}`)

/** Their code is Node's. */
const aborts = new WeakSet()

/** The codes of errors of the core that end a node (see the event `error` in index.d.ts). */
const OF_NODES = new Set([
  'ERR_CONFLUX_RESOURCES',
  'ERR_CONFLUX_DUPLICATE_ID',
  'ERR_CONFLUX_OTHER_CLUSTER',
  'ERR_CONFLUX_OTHER_APPLICATION',
  'ERR_CONFLUX_SESSIONS_REQUIRED',
  'ERR_CONFLUX_STORAGE_IN_USE',
  'ERR_CONFLUX_STORAGE_COPIED',
  'ERR_CONFLUX_STORAGE_OUTDATED',
  'ERR_CONFLUX_STORAGE_DAMAGED',
  'ERR_CONFLUX_STORAGE',
  'ERR_CONFLUX_PANIC',
  'ERR_CONFLUX_INTERNAL'
])

const OUTCOMES = new Set(['refused', 'not-applied', 'unknown'])

module.exports = {
  invalidOptions: faults =>
    failure('ERR_CONFLUX_INVALID_OPTIONS', `Invalid options: ${faults.join(', ')}`, { faults }),

  /** An error of the addon: its text begins with the code (src/js/mod.rs). */
  notOpened: error => {
    const [, code, message] = /^(ERR_CONFLUX_\w+) (.*)$/s.exec(messageOf(error)) ?? []
    if (code === undefined) return module.exports.internal(error)
    if (code === 'ERR_CONFLUX_INVALID_OPTIONS') return module.exports.invalidOptions([message])
    return failure(code, message)
  },

  noBinary: (message, cause) => failure('ERR_CONFLUX_NO_BINARY', message, { cause }),

  /** For an error that is thrown synchronously. */
  invalidArgument: message =>
    Object.assign(new TypeError(message), { code: 'ERR_CONFLUX_INVALID_ARGUMENT', ...NOT_APPLIED }),

  /** For a rejection: its `name` stays `Error`. */
  invalidCall: message => failure('ERR_CONFLUX_INVALID_ARGUMENT', message, NOT_APPLIED),

  /** Something threw before the call was recorded: the end of the stack, or a getter of an option. */
  notStarted: (what, cause) =>
    failure(
      'ERR_CONFLUX_NOT_STARTED',
      `calling \`${what}\`: an error was thrown before the call began: ${messageOf(cause)}`,
      {
        ...NOT_APPLIED,
        cause
      }
    ),

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
      `this node has ${count} pending calls (${characters} characters of arguments), the maximum; try again later`,
      NOT_APPLIED
    ),

  busyAsking: count =>
    failure(
      'ERR_CONFLUX_BUSY',
      `this node has ${count} pending operations, the maximum; try again later`,
      NOT_APPLIED
    ),

  timeout: (method, timeout, outcome, waitingFor) =>
    failure(
      'ERR_CONFLUX_TIMEOUT',
      `performing \`${method}\`: the call timed out after ${timeout} ms${because(waitingFor)}; ${AFTERWARDS[outcome]}`,
      { outcome, method, timeout, waitingFor }
    ),

  /** As in Node's own API: this name and code, with the signal's reason as the cause. */
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

  /** The state of a node with storage was read before the replay. */
  notReplayed: () =>
    failure(
      'ERR_CONFLUX_NOT_READY',
      'the state cannot be read before the log on disk is replayed; `await node.ready()` first'
    ),

  /** What an iterator over commits would read next is not in the log any more. */
  compacted: (index, firstIndex) =>
    failure(
      'ERR_CONFLUX_COMPACTED',
      `the log does not reach back to index ${index}: it begins at ${firstIndex}; read the state, and continue after it`,
      { index, firstIndex }
    ),

  closed: outcome =>
    failure(
      'ERR_CONFLUX_CLOSED',
      outcome === 'unknown' ? 'this node was closed while the call was in flight' : 'this node is closed',
      { outcome }
    ),

  /** For a call of a failed node: the failure, and the outcome of this call. */
  failed: (error, outcome) =>
    failure(error.code, `this node failed: ${error.message}`, { outcome, cause: error }),

  reentrant: (what, inside) =>
    failure(
      'ERR_CONFLUX_REENTRANT',
      `\`${what}\` was called inside ${inside}; methods and reducers must not call a node`,
      NOT_APPLIED
    ),

  tooManyTimers: (count, bytes, countMax, bytesMax) =>
    failure(
      'ERR_CONFLUX_TOO_MANY_TIMERS',
      `there are ${count} timers of ${bytes} bytes; at most ${countMax} and ${bytesMax} bytes are allowed`,
      { count, bytes, countMax, bytesMax }
    ),

  notInMethod: what =>
    failure(
      'ERR_CONFLUX_NOT_IN_METHOD',
      `\`this.${what}()\` was called outside a method: it belongs to the evaluation of a call, and ends with it`
    ),

  unknownMethod: method =>
    failure('ERR_CONFLUX_UNKNOWN_METHOD', `${method} is not a registered method`, REFUSED),

  /** A method asked for the session of its caller, and that has ended since the call was made. */
  sessionEnded: id =>
    failure(
      'ERR_CONFLUX_SESSION_ENDED',
      `the session in which node "${id}" made this call has ended; make the call again in the new session`,
      REFUSED
    ),

  noCaller: timer =>
    failure('ERR_CONFLUX_NO_CALLER', `the timer "${timer}" runs this method: no node called it`, REFUSED),

  noSessions: what =>
    failure('ERR_CONFLUX_NO_SESSIONS', `\`${what}\` needs the option \`sessions\`, on all nodes`, REFUSED),

  reservedType: type =>
    failure('ERR_CONFLUX_RESERVED_TYPE', `an action of a method must not have the type "${type}"`, REFUSED),

  /** The reason of a `signal` of `whileLeader`. */
  notLeading: () => {
    const error = failure('ABORT_ERR', 'this node no longer leads')
    Object.defineProperty(error, 'name', { value: 'AbortError', writable: true, configurable: true })
    return error
  },

  /** @param kind what it returned: `a promise`, `a generator`. */
  asyncMethod: (method, kind) =>
    failure(
      'ERR_CONFLUX_ASYNC_METHOD',
      `the method \`${method}\` returned ${kind}; methods must be synchronous`,
      REFUSED
    ),

  /** The reducer threw during evaluation: the action is not logged, and the state does not change. */
  reducer: (method, error) =>
    failure(
      'ERR_CONFLUX_REDUCER',
      `the reducer threw on the action of \`${method}\`: ${messageOf(error)}`,
      REFUSED
    ),

  /** The reducer violated a rule about the state: the action is not logged either. */
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

  /** The option `initialState` is invalid. */
  initialStateOption: (fault, cause) =>
    failure(
      'ERR_CONFLUX_INVALID_OPTIONS',
      `Invalid options: ${fault}`,
      cause === undefined ? { faults: [fault] } : { faults: [fault], cause }
    ),

  /** The action of a call of this node is committed, but this node could not reduce it. */
  notApplied: ({ index, action, cause }) =>
    failure(
      'ERR_CONFLUX_DIVERGED',
      `the state of this node is valid only up to the action before index ${index} and does not contain the action of this call: ${messageOf(cause)}`,
      { outcome: 'unknown', index, action, cause }
    ),

  internal: cause =>
    failure('ERR_CONFLUX_INTERNAL', `a bug in conflux ended this node: ${messageOf(cause)}`, { cause }),

  isOfNode: code => OF_NODES.has(code),

  /**
   * A failure of a whole node, reported by the core. Only its operator knows which of two nodes of one id must be
   * renamed.
   */
  ofNode: (code, message, channel, namesakes) =>
    failure(
      code,
      code === 'ERR_CONFLUX_DUPLICATE_ID' ? message + whereTheyMeet(channel) + namesakes.describe() : message
    ),

  /** A failure described by the core. */
  core: (code, message, facts) => failure(code, message, facts),

  isOwn,

  /** Whether an error has the outcome of a call. Also true for another realm and for another copy of conflux. */
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

  /** An error of a listener belongs to the application: it becomes an uncaught exception once all listeners have run. */
  surface: error =>
    nextTick(() => {
      throw error
    })
}

function whereTheyMeet({ name, ...options }) {
  const option = name === 'socket.io' ? 'channel' : 'channelName'
  const apart = name === 'custom' ? '`join` that connects them elsewhere' : `\`${option}\` each`
  return (
    `. Both use ${option} "${options[option]}" of the ${name} channel: nodes that should not meet, such as those of two ` +
    `applications or two tests, need a ${apart}`
  )
}

/** Whether conflux created the error. Errors of the application or the engine may throw when they are inspected. */
function isOwn(thrown) {
  try {
    return aborts.has(thrown) || String(thrown.code).startsWith('ERR_CONFLUX_')
  } catch {
    return false
  }
}

/** The text of a thrown value. Never throws. */
function messageOf(thrown) {
  try {
    const message = thrown?.message
    return typeof message === 'string' ? message : String(thrown)
  } catch {
    return 'something without a text was thrown'
  }
}
