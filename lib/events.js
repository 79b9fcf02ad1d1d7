// Emits the events of a node; without a listener, warnings and failures go to Node's own channels.

'use strict'

const diagnostics = require('./diagnostics')
const { emitWarning, reportFailure, writeError } = require('./environment')
const { messageOf } = require('./errors')
const { stackOf } = require('./evaluation')

/** The maximum number of places that are reported. */
const THROWN_MAX = 100

class Events {
  /** While a node is closing, only its end is reported. */
  isMuted = false
  #id
  #emitter
  #log
  #warned = new Set()
  /** Where methods and reducers threw. */
  #thrown = new Set()
  #failedTimers = new Set()

  /**
   * @param emitter whose listeners get the events.
   * @param log gets each event, too.
   */
  constructor(id, emitter, log) {
    this.#id = id
    this.#emitter = emitter
    this.#log = log
  }

  emit(event, ...values) {
    if (this.isMuted) return
    this.#log.event(event, values)
    this.#emitter.emit(event, ...values)
  }

  /** Without a listener and without a logger, the first warning of each code goes to `process.emitWarning`. */
  warn(code, message, facts) {
    if (this.isMuted) return
    const warning = { code, message, ...facts }
    if (diagnostics.warning.hasSubscribers) {
      diagnostics.warning.publish({ node: this.#emitter, id: this.#id, warning })
    }
    this.#log.write('warn', message, { event: 'warning', code, ...facts })
    if (this.#emitter.listenerCount('warning') > 0) {
      this.#emitter.emit('warning', warning)
    } else if (this.#log.hasLogger) {
      // The logger has written it.
    } else if (!this.#warned.has(code)) {
      this.#warned.add(code)
      emitWarning(`conflux node "${this.#id}": ${message}`, { type: 'ConfluxWarning', code })
    }
  }

  /** @param warnings `{ code, message, ...facts }` each. */
  warnAll(warnings) {
    for (const { code, message, ...facts } of warnings) this.warn(code, message, facts)
  }

  /**
   * A method or reducer threw by mistake, on this leader: each place is reported once.
   *
   * @param what `'method'` or `'reducer'`.
   */
  threw(what, method, error) {
    const stack = stackOf(error)
    if (!this.#isNews(`${what} ${method}`, stack)) return
    const where =
      what === 'method'
        ? `the method \`${method}\` threw`
        : `the reducer threw on the action of \`${method}\``
    const code = what === 'method' ? 'WARN_CONFLUX_METHOD_THREW' : 'WARN_CONFLUX_REDUCER_THREW'
    this.warn(code, `${where}: ${stack ?? messageOf(error)}`, { method, stack })
  }

  /** The wall clock of this leader is not where it should be. */
  clockJumped({ wall, at }) {
    const milliseconds = Math.abs(wall - at)
    const message =
      `the wall clock of this node is ${milliseconds} ms ${wall > at ? 'ahead of' : 'behind'} the cluster's clock: it was ` +
      "set, or differs from those of the other nodes; the cluster's clock approaches it slowly"
    this.warn('WARN_CONFLUX_CLOCK_JUMP', message, { wall, at })
  }

  /** The method of a timer refused or threw, or this leader has none of that name: each message of a timer is reported once. */
  timerFailed(timer, method, scheduledAt, why) {
    const news = `${timer} ${why}`
    if (this.#failedTimers.has(news) || this.#failedTimers.size === THROWN_MAX) return
    this.#failedTimers.add(news)
    const message = `the timer "${timer}" ran the method \`${method}\`, which did not succeed: ${why}`
    this.warn('WARN_CONFLUX_TIMER_FAILED', message, { timer, method, scheduledAt, why })
  }

  /** A function of a custom channel threw, or its promise was rejected: likewise. */
  channelThrew(what, error) {
    const stack = stackOf(error)
    if (!this.#isNews(`channel ${what}`, stack)) return
    const consequence = what === 'close' ? '' : '; the frame is lost'
    const message = `the function \`${what}\` of the channel threw: ${stack ?? messageOf(error)}${consequence}`
    this.warn('WARN_CONFLUX_CHANNEL_THREW', message, { what, stack })
  }

  /** Each place is reported once. */
  #isNews(what, stack) {
    const place = `${what} ${/\n\s+at .*/.exec(stack)?.[0]}`
    if (this.#thrown.has(place) || this.#thrown.size === THROWN_MAX) return false
    this.#thrown.add(place)
    return true
  }

  /** A node that continues with an old state must be noticed: without a listener, it is a warning. */
  diverged(error) {
    if (this.#emitter.listenerCount('diverged') > 0) this.emit('diverged', error)
    else this.warn('WARN_CONFLUX_DIVERGED', error.message, { index: error.index })
  }

  restored() {
    this.#warned.delete('WARN_CONFLUX_DIVERGED')
    this.emit('restored')
  }

  /**
   * A failure never ends the process, as an `error` event without a listener would; but the exit code shows it to a
   * supervisor.
   */
  failed(failure) {
    if (this.#emitter.listenerCount('error') > 0) {
      this.emit('error', failure)
      return
    }
    this.#log.event('error', [failure])
    if (!this.#log.hasLogger)
      writeError(`conflux node "${this.#id}" failed: ${failure.message} (${failure.code})\n`)
    reportFailure()
  }
}

module.exports = { Events }
