// A promise that ends with what it waits for, with its time limit, or with its signal: whichever comes first.
//
// Used by the clients of the recipes.

'use strict'

const { Promise, clearTimeout, setTimeout } = require('../environment')
const { listen, unlisten } = require('../aborts')

const noop = () => {}

class Waiter {
  promise
  resolve
  reject
  #stop = noop
  #timer = undefined
  #signal = undefined
  #onAbort = undefined
  #hasEnded = false

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve
      this.reject = reject
    })
  }

  onEnd(stop) {
    if (this.#hasEnded) stop()
    else this.#stop = stop
  }

  limit(milliseconds, onEnd) {
    if (!this.#hasEnded) this.#timer = setTimeout(onEnd, Math.max(0, milliseconds))
  }

  abortedBy(signal, onAbort) {
    if (this.#hasEnded) return
    this.#signal = signal
    this.#onAbort = { aborted: onAbort }
    if (signal.aborted) onAbort()
    else listen(signal, this.#onAbort)
  }

  /** The first end counts. */
  end(settle) {
    if (this.#hasEnded) return
    this.#hasEnded = true
    clearTimeout(this.#timer)
    if (this.#signal !== undefined) unlisten(this.#signal, this.#onAbort)
    this.#stop()
    settle()
  }
}

module.exports = { Waiter }
