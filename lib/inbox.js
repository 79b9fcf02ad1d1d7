// Executes the core's deliveries in order, and yields to the event loop in between.
//
// Made by node.js. The core has one batch with JavaScript at a time; what it delivers while this node pauses waits
// here.

'use strict'

const { Batch, DONE, RESTORING, SETTLED } = require('./deliveries')
const { nextTick, queueMicrotask, setImmediate } = require('./environment')
const { SLICE_MS, Slice } = require('./slice')

const SETTLED_MAX = 128

class Inbox {
  #target
  #replicatedState
  #slice = new Slice()
  #batches = []
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
    this.#batches.push({ text, beside })
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
    const batches = this.#batches
    try {
      while (batches.length > 0 && !this.#isPaused) {
        this.#slice.start()
        // Parsed only when it is its turn: a text is smaller.
        if (!(batches[0] instanceof Batch)) batches[0] = new Batch(batches[0].text, batches[0].beside)
        const batch = batches[0]
        const pause = batch.read(this.#target, this.#replicatedState, this.#slice, this.#settledMax)
        const isOver = this.#slice.stop()
        if (this.#target.hasEnded) batches.length = 0
        else this.#proceed(batch, pause, isOver)
      }
    } catch (error) {
      batches.length = 0
      this.#target.fault(error)
    }
  }

  #proceed(batch, pause, isOver) {
    if (pause === RESTORING) {
      this.#isPaused = true
      return
    }
    if (pause === DONE) {
      this.#batches.shift()
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
