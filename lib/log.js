// Writes what happens in a node to the option `logger` and, with NODE_DEBUG=conflux, to stderr.
//
// Made by node.js, which gives it to the parts that log. Without either, nothing is written, and no text is made.

'use strict'

const { debuglog } = require('node:util')
const errors = require('./errors')

const debug = debuglog('conflux')

/** NODE_DEBUG is read when the process starts. */
const isDebugging = debug.enabled

const MILLISECONDS_DIGITS = 1

/** What a change of each kind reads like. Events that carry an error are described by it. */
const TEXTS = {
  leader: leader => (leader === null ? 'no leader is known' : `the leader is ${leader}`),
  session: ({ session, previous, reason }) =>
    session === null
      ? `session ${previous} of this node has ended: ${reason}`
      : `this node has session ${session}: ${reason}`,
  role: role => `this node is a ${role}`
}

class Log {
  #id
  #logger
  #isStructuredFirst

  /** @param logger the option: what has `debug`, `info`, `warn` and `error`; or undefined. */
  constructor(id, logger) {
    this.#id = id
    this.#logger = logger
    this.#isStructuredFirst = takesFactsFirst(logger)
  }

  get hasLogger() {
    return this.#logger !== undefined
  }

  /** Every call is logged. */
  get isDebugging() {
    return isDebugging
  }

  /** There is a logger, or NODE_DEBUG is set. */
  get isOn() {
    return this.hasLogger || isDebugging
  }

  event(event, values) {
    if (!this.isOn) return
    const [value] = values
    if (errors.isError(value)) this.write('error', value.message, { event, code: value.code })
    else this.write('info', TEXTS[event]?.(value) ?? event, { event })
  }

  call({ method, milliseconds, outcome }, error) {
    if (!isDebugging) return
    const took = `${milliseconds.toFixed(MILLISECONDS_DIGITS)} ms`
    const why = error ? ` (${error.code}: ${error.message})` : ''
    debug('node "%s": `%s` was %s after %s%s', this.#id, method, outcome, took, why)
  }

  write(level, text, facts) {
    if (isDebugging) debug('node "%s": %s: %s', this.#id, level, text)
    if (this.#logger === undefined) return
    const message = `conflux node "${this.#id}": ${text}`
    const all = { node: this.#id, ...facts }
    try {
      if (this.#isStructuredFirst) this.#logger[level](all, message)
      else this.#logger[level](message, all)
    } catch (error) {
      // It is the application's, as a listener is.
      errors.surface(error)
    }
  }
}

/** pino and bunyan take the facts before the message; console, winston and most others after it. */
function takesFactsFirst(logger) {
  return typeof logger?.bindings === 'function' || (typeof logger?.child === 'function' && 'fields' in logger)
}

module.exports = { Log }
