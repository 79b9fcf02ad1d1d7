// This file holds those who wait in `node.ready()` for a cluster with a leader.

'use strict'

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

  /** @param timeout milliseconds; none: for as long as it takes. */
  wait(options) {
    const { timeout } = options ?? {}
    if (timeout !== undefined && !isTimeout(timeout)) return Promise.reject(errors.invalidCall(TIMEOUT_RULE))
    if (this.#isReady) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const waiter = { resolve, reject, timer: undefined }
      if (timeout !== undefined) waiter.timer = setTimeout(() => this.#expire(waiter, timeout), timeout)
      this.#waiting.add(waiter)
    })
  }

  /** There is a leader. */
  resolve() {
    this.#isReady = true
    this.#settle(waiter => waiter.resolve())
  }

  /** There is none any more: who asks from here on waits. */
  reset() {
    this.#isReady = false
  }

  /** There will be none. */
  reject(error) {
    this.#settle(waiter => waiter.reject(error))
  }

  #settle(settle) {
    for (const waiter of this.#waiting) {
      clearTimeout(waiter.timer)
      settle(waiter)
    }
    this.#waiting.clear()
  }

  #expire(waiter, timeout) {
    this.#waiting.delete(waiter)
    waiter.reject(errors.notReady(timeout, this.#waitingFor()))
  }
}

module.exports = { Ready }
