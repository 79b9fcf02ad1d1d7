// Executes the core's deliveries in order, and yields to the event loop in between.
//
// Made by node.js. The core has at most two batches with JavaScript; what it delivers while this node works or
// pauses waits here.

'use strict'

const { Batch, DONE, RESTORING, SETTLED } = require('./deliveries')
const { nextTick, queueMicrotask, setImmediate } = require('./environment')
const { SLICE_MS, Slice } = require('./slice')

const SETTLED_MAX = 128

class Inbox {
  #target
  #replicatedState
  #slice = new Slice()
  /** The batch that is being read, or null. */
  #batch = null
  #waiting = []
  #isPaused = false
  /** How many calls are settled before their callers continue: as many as take about half a slice together. */
  #settledMax = 1
  #resume = () => this.#goOnAfterCallers()
  #renew = () => {
    this.#slice.renew()
    this.#goOn()
  }

  /** @param target receives the deliveries, the end and the progress of a batch, and exceptions, which only a bug can cause. */
  constructor(target, replicatedState) {
    this.#target = target
    this.#replicatedState = replicatedState
  }

  deliver(text, beside) {
    const batch = new Batch(text, beside)
    if (this.#batch !== null) {
      this.#waiting.push(batch)
      return
    }
    this.#batch = batch
    if (!this.#isPaused) this.#work()
  }

  /** The state that a batch restores is restored. */
  restored() {
    this.#slice.renew()
    this.#goOn()
  }

  #goOn() {
    this.#isPaused = false
    this.#work()
  }

  #goOnAfterCallers() {
    const took = this.#slice.resume()
    const isQuick = took < SLICE_MS / 2
    this.#settledMax = isQuick ? Math.min(2 * this.#settledMax, SETTLED_MAX) : Math.ceil(this.#settledMax / 4)
    if (this.#slice.isUsedUp) this.#pause()
    else this.#goOn()
  }

  #pause() {
    this.#isPaused = true
    setImmediate(this.#renew)
  }

  #work() {
    try {
      while (this.#batch !== null && !this.#isPaused) {
        this.#slice.start()
        const pause = this.#batch.read(this.#target, this.#replicatedState, this.#slice, this.#settledMax)
        const isOver = this.#slice.stop()
        if (this.#target.hasEnded) this.#drop()
        else this.#proceed(this.#batch, pause, isOver)
      }
    } catch (error) {
      this.#drop()
      this.#target.fault(error)
    }
  }

  #drop() {
    this.#batch = null
    this.#waiting.length = 0
  }

  #proceed(batch, pause, isOver) {
    if (pause === RESTORING) {
      this.#isPaused = true
      return
    }
    if (pause === DONE) {
      this.#batch = this.#waiting.length > 0 ? this.#waiting.shift() : null
      this.#target.answered(batch.evaluationMicros)
    } else if (isOver) {
      this.#target.progressed(batch.reducedIndex)
    }
    if (isOver) {
      this.#pause()
    } else if (pause === SETTLED) {
      // After the callbacks of the settled calls, and then after the microtasks of the code that awaited them.
      this.#isPaused = true
      nextTick(queueMicrotask, this.#resume)
    }
  }
}

module.exports = { Inbox }
