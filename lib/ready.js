// Keeps the pending calls of `node.ready()`, which wait until the node has caught up with a leader.

'use strict'

const { listen, reasonOf, unlisten } = require('./aborts')
const { callOptions } = require('./call-options')
const { Deferred } = require('./deferred')
const { Promise, clearTimeout, setTimeout } = require('./environment')
const errors = require('./errors')

const OPTIONS = ['timeout', 'signal']

class Ready {
  #isReady = false
  #waiting = new Set()
  #waitingFor
  #stacks

  /**
   * @param waitingFor returns what the node is waiting for, as text, or null.
   * @param stacks records the callers.
   */
  constructor(waitingFor, stacks) {
    this.#waitingFor = waitingFor
    this.#stacks = stacks
  }

  /**
   * @param options `{ timeout, signal }`; the timeout in milliseconds; none: for as long as it takes.
   * @param callee the function that the application called.
   * @throws an error about invalid options.
   */
  wait(options, callee) {
    const { timeout, signal } = callOptions(options, OPTIONS)
    if (signal?.aborted) throw aborted(signal)
    if (this.#isReady) return Promise.resolve()
    const waiter = { deferred: new Deferred(), site: this.#stacks.capture(callee), timer: undefined, signal }
    waiter.aborted = () => this.#end(waiter, () => aborted(signal))
    if (timeout !== undefined) waiter.timer = setTimeout(() => this.#expire(waiter, timeout), timeout)
    if (signal !== undefined) listen(signal, waiter)
    this.#waiting.add(waiter)
    return waiter.deferred.promise
  }

  /** There is a leader. */
  resolve() {
    this.#isReady = true
    this.#settle(({ deferred }) => deferred.resolve())
  }

  /** There is no leader any more: later calls wait. */
  reset() {
    this.#isReady = false
  }

  /** There will be none. `makeError()` makes the error of a call. */
  reject(makeError) {
    this.#settle(waiter => this.#stacks.reject(waiter.deferred, makeError(), waiter.site))
  }

  #settle(settle) {
    for (const waiter of this.#waiting) {
      rest(waiter)
      settle(waiter)
    }
    this.#waiting.clear()
  }

  #expire(waiter, timeout) {
    this.#end(waiter, () => errors.notReady(timeout, this.#waitingFor()))
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
