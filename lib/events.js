// This file tells what happens to a node: to who listens, or, where nobody does, where Node tells such things.

'use strict'

const { EventEmitter } = require('node:events')
const { emitWarning, reportFailure, writeError } = require('./environment')
const errors = require('./errors')

class Events {
  /** While a node is closing, only its end is told. */
  isMuted = false
  #id
  #emitter = new EventEmitter()
  #warned = new Set()

  constructor(id) {
    this.#id = id
    // One for each connection or test is usual.
    this.#emitter.setMaxListeners(0)
  }

  /** @param verb `on`, `once` or `off`. */
  listen(verb, event, listener) {
    this.#emitter[verb](event, listener)
  }

  /** Calls each listener; what one throws stops neither the others nor the node. */
  emit(event, ...values) {
    if (this.isMuted) return
    // `EventEmitter.emit` ends at the first that throws. Those of `once` remove themselves.
    for (const listener of this.#emitter.rawListeners(event)) {
      try {
        Reflect.apply(listener, this.#emitter, values)
      } catch (error) {
        errors.surface(error)
      }
    }
  }

  /** Where nobody listens, the first of each code goes to `process.emitWarning`. */
  warn(code, message, facts) {
    if (this.isMuted) return
    if (this.#emitter.listenerCount('warning') > 0) {
      this.emit('warning', { code, message, ...facts })
    } else if (!this.#warned.has(code)) {
      this.#warned.add(code)
      emitWarning(`conflux node "${this.#id}": ${message}`, { type: 'ConfluxWarning', code })
    }
  }

  /** A node that goes on with an old state must be seen: where nobody listens, it is a warning. */
  fenced(error) {
    if (this.#emitter.listenerCount('fenced') > 0) this.emit('fenced', error)
    else this.warn('WARN_CONFLUX_FENCED', error.message, { index: error.index })
  }

  healed() {
    this.#warned.delete('WARN_CONFLUX_FENCED')
    this.emit('healed')
  }

  /** A failure never takes the process with it, as an `error` without a listener would; but a supervisor sees it. */
  failed(failure) {
    if (this.#emitter.listenerCount('error') > 0) {
      this.emit('error', failure)
      return
    }
    writeError(`conflux node "${this.#id}" failed: ${failure.message} (${failure.code})\n`)
    reportFailure()
  }
}

module.exports = { Events }
