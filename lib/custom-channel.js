// Carries a node's frames over a channel that the application provides: `channel: { name: 'custom', join }`.
//
// Made by core.js, and notified by the addon (src/js/custom.rs), which queues the frames until they are taken here. An
// error of the application's functions ends here: a frame is lost, or the channel is broken and joined again.

'use strict'

const { isUint8Array } = require('node:util').types
const {
  Buffer,
  Promise,
  clearTimeout,
  now,
  queueMicrotask,
  setImmediate,
  setTimeout
} = require('./environment')
const errors = require('./errors')
const { kindOf } = require('./kind')

/** Sending yields to the event loop after this time. */
const SLICE_MS = 10
/** Frames that arrive in one turn of the event loop reach the core together, up to this many bytes. */
const RECEIVED_BYTES_MAX = 1 << 20

/** An attempt to join is repeated after a delay that doubles. Half of it is random, so that nodes do not join in step. */
const RETRY_MS_MIN = 20
const RETRY_MS_MAX = 1000

/** A promise of `join` that takes longer is reported. */
const JOIN_PATIENCE_MS = 2000
/** The next link does not wait longer for a `close` of the former one. */
const CLOSE_PATIENCE_MS = 500

const CAUSE_CHARACTERS_MAX = 1000

const FUNCTIONS = ['send', 'broadcast', 'close']

class CustomChannel {
  native
  #join
  #events
  #links = new Map()
  #former = undefined

  /**
   * @param join of the application: `(self, deliver, report) => ({ send, broadcast, close })`.
   * @param events `channelThrew(what, error)`: a function of the application threw. `fault(error)`: a bug.
   */
  constructor(join, events) {
    this.#join = join
    this.#events = events
  }

  /** Called by the addon. It must not throw: no code could catch the exception. */
  notify = (what, number, self) => {
    try {
      if (what === 'join') this.#begin(number, self)
      else if (what === 'frames') this.#links.get(number)?.pump()
      else this.#links.get(number)?.leave()
    } catch (error) {
      this.#events.fault(error)
    }
  }

  /** A transport may need a resource that the former link still holds, such as a port. */
  #begin(number, self) {
    const link = new CustomLink(number, self, this.#join, this.native, this.#events)
    const former = this.#former
    this.#links.set(number, link)
    this.#former = link
    link.ended.then(() => this.#links.delete(number))
    if (former === undefined || former.hasEnded) link.join()
    else former.ended.then(() => link.join())
  }
}

class CustomLink {
  hasEnded = false
  #number
  #self
  #join
  #native
  #events
  /** The present attempt to join: what former ones deliver and report is ignored. */
  #attempt = null
  /** What `join` returned. */
  #joined = null
  /** Its promise `ready` has resolved, or it has none. */
  #isOpen = false
  #failures = 0
  #timer = undefined
  /** Taken from the addon and not sent yet: a receiver (empty: all) and a frame, alternately. */
  #taken = []
  #next = 0
  #isPumping = false
  #isLeaving = false
  #received = []
  #receivedBytes = 0
  #end
  #resume = () => this.#goOnLater()
  #handOver = () => this.#handOverReceived()

  constructor(number, self, join, native, events) {
    this.#number = number
    this.#self = self
    this.#join = join
    this.#native = native
    this.#events = events
    this.ended = new Promise(resolve => (this.#end = resolve))
  }

  join() {
    if (this.#isLeaving) return
    const attempt = { isBroken: false }
    this.#attempt = attempt
    this.#timer = setTimeout(() => this.#reportWaiting(attempt), JOIN_PATIENCE_MS).unref()
    const deliver = bytes => this.#deliver(attempt, bytes)
    const report = cause => this.#report(attempt, cause)
    this.#after(
      attempt,
      () => this.#join(this.#self, deliver, report),
      joined => this.#hasJoined(attempt, joined)
    )
  }

  #hasJoined(attempt, joined) {
    const fault = faultOf(joined)
    if (fault !== null) throw fault
    // It took so long that this link has ended meanwhile.
    if (attempt !== this.#attempt) return this.#call(joined, 'close')
    this.#joined = joined
    this.#after(
      attempt,
      () => joined.ready,
      () => this.#isReady(attempt)
    )
  }

  #isReady(attempt) {
    if (attempt !== this.#attempt) return
    clearTimeout(this.#timer)
    this.#isOpen = true
    this.#failures = 0
    if (!attempt.isBroken) this.#native.channelHealth(this.#number, null)
    this.pump()
  }

  /** Calls `next` with what `first` returns or promises. An error of either means that the attempt has failed. */
  #after(attempt, first, next) {
    const failed = error => this.#hasFailed(attempt, error)
    try {
      const result = first()
      if (isThenable(result)) Promise.resolve(result).then(next).then(undefined, failed)
      else next(result)
    } catch (error) {
      failed(error)
    }
  }

  #hasFailed(attempt, error) {
    if (attempt !== this.#attempt) return
    clearTimeout(this.#timer)
    this.#attempt = null
    const joined = this.#joined
    this.#joined = null
    if (joined !== null) this.#call(joined, 'close')
    this.#native.channelHealth(this.#number, textOf('`join` failed', error))
    const delay = Math.min(RETRY_MS_MIN * 2 ** Math.min(this.#failures++, 8), RETRY_MS_MAX)
    this.#timer = setTimeout(() => this.join(), (delay * (1 + Math.random())) / 2).unref()
  }

  #reportWaiting(attempt) {
    // The cause that the application reported is more precise.
    if (attempt !== this.#attempt || attempt.isBroken) return
    const what = this.#joined === null ? 'promise of `join`' : 'promise `ready`'
    this.#native.channelHealth(this.#number, `the ${what} is still pending after ${JOIN_PATIENCE_MS} ms`)
  }

  // What the application calls.

  #deliver(attempt, bytes) {
    if (!isUint8Array(bytes)) {
      throw errors.invalidArgument(`\`deliver\` takes a Uint8Array (or a Buffer), got ${kindOf(bytes)}`)
    }
    if (attempt !== this.#attempt) return
    // A copy: the caller may use its buffer again.
    const frame = Buffer.from(bytes)
    if (this.#received.length === 0) queueMicrotask(this.#handOver)
    this.#received[this.#received.length] = frame
    this.#receivedBytes += frame.length
    if (this.#receivedBytes > RECEIVED_BYTES_MAX) this.#handOverReceived()
  }

  #report(attempt, cause) {
    if (attempt !== this.#attempt) return
    const isBroken = cause !== undefined && cause !== null
    if (isBroken) this.#native.channelHealth(this.#number, textOf('', cause))
    else if (this.#isOpen) this.#native.channelHealth(this.#number, null)
    attempt.isBroken = isBroken
  }

  #handOverReceived() {
    const frames = this.#received
    if (frames.length === 0) return
    this.#received = []
    this.#receivedBytes = 0
    this.#native.channelReceived(this.#number, frames)
  }

  // What the core sends.

  /** Sends what waits in the addon. Before the channel is ready, it waits on. */
  pump() {
    if (!this.#isOpen || this.#isPumping) return
    this.#isPumping = true
    this.#goOn()
  }

  #goOn() {
    const end = now() + SLICE_MS
    while (this.#hasNext()) {
      const to = this.#taken[this.#next]
      const frame = this.#taken[this.#next + 1]
      this.#next += 2
      if (to === '') this.#call(this.#joined, 'broadcast', frame)
      else this.#call(this.#joined, 'send', to, frame)
      if (now() >= end) return setImmediate(this.#resume)
    }
    this.#isPumping = false
    if (this.#isLeaving) this.#finish()
  }

  #goOnLater() {
    try {
      this.#goOn()
    } catch (error) {
      this.#events.fault(error)
    }
  }

  #hasNext() {
    if (this.#next < this.#taken.length) return true
    this.#taken = this.#native.channelTake(this.#number)
    this.#next = 0
    return this.#taken.length > 0
  }

  // How it ends.

  /** Sends what still waits, then closes what `join` returned. */
  leave() {
    if (this.#isLeaving) return
    this.#isLeaving = true
    this.#attempt = null
    clearTimeout(this.#timer)
    if (this.#isOpen) this.pump()
    else this.#finish()
  }

  #finish() {
    const joined = this.#joined
    this.#joined = null
    this.#isOpen = false
    const closing = joined === null ? undefined : this.#call(joined, 'close')
    if (closing === undefined) return this.#hasLeft()
    const limit = setTimeout(() => this.#hasLeft(), CLOSE_PATIENCE_MS).unref()
    closing.then(() => {
      clearTimeout(limit)
      this.#hasLeft()
    })
  }

  #hasLeft() {
    if (this.hasEnded) return
    this.hasEnded = true
    this.#native.channelLeft(this.#number)
    this.#end()
  }

  /** A promise of its end if it is asynchronous. Never throws, and the promise never rejects. */
  #call(joined, what, ...args) {
    try {
      const returned = joined[what](...args)
      if (!isThenable(returned)) return undefined
      return Promise.resolve(returned).then(undefined, error => this.#events.channelThrew(what, error))
    } catch (error) {
      this.#events.channelThrew(what, error)
      return undefined
    }
  }
}

function isThenable(value) {
  return typeof value === 'object' && value !== null && typeof value.then === 'function'
}

/** An error if it is not what `join` must return. */
function faultOf(joined) {
  if (typeof joined !== 'object' || joined === null) {
    return new Error(`it must return an object with ${FUNCTIONS.join(', ')}; got ${kindOf(joined)}`)
  }
  const missing = FUNCTIONS.filter(name => typeof joined[name] !== 'function')
  return missing.length === 0 ? null : new Error(`it returned an object without ${missing.join(', ')}`)
}

/** A sentence for people. */
function textOf(prefix, cause) {
  const text = typeof cause === 'string' ? cause : errors.messageOf(cause)
  return (prefix === '' ? text : `${prefix}: ${text}`).slice(0, CAUSE_CHARACTERS_MAX).toWellFormed()
}

module.exports = { CustomChannel }
