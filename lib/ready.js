// Keeps the pending calls of `node.ready()`, which wait until the node has caught up with a leader.

'use strict'

const { listen, reasonOf, unlisten } = require('./aborts')
const { callOptions } = require('./call-options')
const { Deferred } = require('./deferred')
const { Promise, clearTimeout, setTimeout } = require('./environment')
const errors = require('./errors')

const OPTIONS = ['timeout', 'signal', 'faultTolerance']

/** The core does not deliver changes of the fault tolerance: it is read at this interval. */
const POLL_MS = 25

class Ready {
  #isReady = false
  #waiting = new Set()
  #waitingFor
  #faultTolerance
  #stacks
  #isPolling = false
  #poll = () => {
    this.#isPolling = false
    if (this.#isReady) this.resolve()
  }

  /**
   * @param waitingFor returns what the node is waiting for, as text, or null.
   * @param faultTolerance returns how many more voters may crash now.
   * @param stacks records the callers.
   */
  constructor(waitingFor, faultTolerance, stacks) {
    this.#waitingFor = waitingFor
    this.#faultTolerance = faultTolerance
    this.#stacks = stacks
  }

  /**
   * @param options `{ timeout, signal, faultTolerance }`; the timeout in milliseconds; none: for as long as it takes.
   * @param callee the function that the application called.
   * @throws an error about invalid options.
   */
  wait(options, callee) {
    const { timeout, signal, faultTolerance = 0 } = callOptions(options, OPTIONS)
    if (signal?.aborted) throw aborted(signal)
    if (this.#isReady && this.#tolerates(faultTolerance)) return Promise.resolve()
    const waiter = { deferred: new Deferred(), site: undefined, timer: undefined, signal, faultTolerance }
    waiter.site = this.#stacks.capture(callee)
    waiter.aborted = () => this.#end(waiter, () => aborted(signal))
    if (timeout !== undefined) waiter.timer = setTimeout(() => this.#expire(waiter, timeout), timeout)
    if (signal !== undefined) listen(signal, waiter)
    this.#waiting.add(waiter)
    if (this.#isReady) this.#pollLater()
    return waiter.deferred.promise
  }

  /** There is a leader. */
  resolve() {
    this.#isReady = true
    if (this.#waiting.size === 0) return
    this.#settle(
      ({ deferred }) => deferred.resolve(),
      ({ faultTolerance }) => this.#tolerates(faultTolerance)
    )
    if (this.#waiting.size > 0) this.#pollLater()
  }

  /** Whether this many more voters may crash. */
  #tolerates(faultTolerance) {
    return faultTolerance === 0 || this.#faultTolerance() >= faultTolerance
  }

  #pollLater() {
    if (this.#isPolling) return
    setTimeout(this.#poll, POLL_MS).unref()
    this.#isPolling = true
  }

  /** There is no leader any more: later calls wait. */
  reset() {
    this.#isReady = false
  }

  /** No leader will follow. `makeError()` makes the error of a call. */
  reject(makeError) {
    this.#settle(waiter => this.#stacks.reject(waiter.deferred, makeError(), waiter.site))
  }

  #settle(settle, isDue = () => true) {
    for (const waiter of [...this.#waiting].filter(isDue)) {
      this.#waiting.delete(waiter)
      rest(waiter)
      settle(waiter)
    }
  }

  #expire(waiter, timeout) {
    this.#end(waiter, () => errors.notReady(timeout, this.#waitingFor() ?? this.#intolerance(waiter)))
  }

  #intolerance({ faultTolerance }) {
    return this.#tolerates(faultTolerance)
      ? null
      : `${this.#faultTolerance()} more voters may crash, not ${faultTolerance}`
  }

  /** A call that was cut off may have left a timer or a listener, and does not wait. */
  #end(waiter, makeError) {
    if (!this.#waiting.delete(waiter)) return
    rest(waiter)
    this.#stacks.reject(waiter.deferred, makeError(), waiter.site)
  }
}

function rest(waiter) {
  if (waiter.timer !== undefined) clearTimeout(waiter.timer)
  if (waiter.signal !== undefined) unlisten(waiter.signal, waiter)
}

const aborted = signal => errors.aborted('waiting until this node is ready', 'not-applied', reasonOf(signal))

module.exports = { Ready }
