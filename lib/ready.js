// This file holds those who wait in `node.ready()` for a cluster with a leader.

'use strict'

const { Deferred } = require('./deferred')
const { Promise, clearTimeout, setTimeout } = require('./environment')
const errors = require('./errors')
const { isTimeout, TIMEOUT_RULE } = require('./timeout')

class Ready {
  #isReady = false
  #waiting = new Set()
  #waitingFor

  /** @param waitingFor says what the node waits for, in words, or null. */
  constructor(waitingFor) {
    this.#waitingFor = waitingFor
  }

  /**
   * @param options `{ timeout }` in milliseconds; none: for as long as it takes.
   * @throws what is wrong with them.
   */
  wait(options) {
    const { timeout } = options ?? {}
    if (timeout !== undefined && !isTimeout(timeout)) throw errors.invalidCall(TIMEOUT_RULE)
    if (this.#isReady) return Promise.resolve()
    const waiter = { deferred: new Deferred(), timer: undefined }
    if (timeout !== undefined) waiter.timer = setTimeout(() => this.#expire(waiter, timeout), timeout)
    this.#waiting.add(waiter)
    return waiter.deferred.promise
  }

  /** There is a leader. */
  resolve() {
    this.#isReady = true
    this.#settle(({ resolve }) => resolve())
  }

  /** There is none any more: who asks from here on waits. */
  reset() {
    this.#isReady = false
  }

  /** There will be none. */
  reject(error) {
    this.#settle(({ reject }) => reject(error))
  }

  #settle(settle) {
    for (const waiter of this.#waiting) {
      if (waiter.timer !== undefined) clearTimeout(waiter.timer)
      settle(waiter.deferred)
    }
    this.#waiting.clear()
  }

  /** A call that was cut off may have left a timer, and does not wait. */
  #expire(waiter, timeout) {
    if (this.#waiting.delete(waiter)) waiter.deferred.reject(errors.notReady(timeout, this.#waitingFor()))
  }
}

module.exports = { Ready }
