// Emits the events of a node; without a listener, warnings and failures go to Node's own channels.

'use strict'

const { emitWarning, reportFailure, writeError } = require('./environment')

class Events {
  /** While a node is closing, only its end is told. */
  isMuted = false
  #id
  #emitter
  #warned = new Set()

  /** @param emitter whose listeners get the events. */
  constructor(id, emitter) {
    this.#id = id
    this.#emitter = emitter
  }

  emit(event, ...values) {
    if (!this.isMuted) this.#emitter.emit(event, ...values)
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

  /** A node that continues with an old state must be seen: where nobody listens, it is a warning. */
  diverged(error) {
    if (this.#emitter.listenerCount('diverged') > 0) this.emit('diverged', error)
    else this.warn('WARN_CONFLUX_DIVERGED', error.message, { index: error.index })
  }

  restored() {
    this.#warned.delete('WARN_CONFLUX_DIVERGED')
    this.emit('restored')
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
