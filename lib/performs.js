// This file holds the performs of one node that have not ended yet, and hands new ones to the core.
//
// Those of one turn of the event loop go in one call. Each ends exactly once: resolved, rejected, or timed out.

'use strict'

const { AsyncResource } = require('node:async_hooks')
const errors = require('./errors')
const { encode, DEPTH_MAX } = require('./json')
const { isTimeout, TIMEOUT_RULE } = require('./timeout')

const { nextTick } = process

/** Of all pending arguments together. */
const CHARACTERS_MAX = 64 * 1024 * 1024

class Performs {
  #native
  #pendingMax
  #deliver
  #onFault
  /** `#resolves[i]` and `#rejects[i]` end the perform with the sequence number `#first + i`, until one of them has. */
  #resolves = []
  #rejects = []
  /** The lengths of their arguments' texts. */
  #lengths = []
  #first = 1
  /** How many at the front have ended. */
  #ended = 0
  #count = 0
  #characters = 0
  /** Of those with a time limit, by sequence number. */
  #timers = new Map()
  /** What goes to the core next, from the sequence number `#turnFirst` on. */
  #turn = ''
  #turnFirst = 1
  #abandoned = []
  #isFlushDue = false
  #quoted = new Map()

  /**
   * @param deliver given the batch that the core hands back at once.
   * @param onFault told what the core's edge throws: only a bug makes it throw.
   */
  constructor(native, options, deliver, onFault) {
    this.#native = native
    this.#pendingMax = options.maxPending
    this.#deliver = deliver
    this.#onFault = onFault
    for (const method of Object.keys(options.methods)) {
      if (method.isWellFormed()) this.#quoted.set(method, JSON.stringify(method))
    }
  }

  get count() {
    return this.#count
  }

  /**
   * A new perform, last in the order.
   *
   * @throws what is wrong with it; it is no perform then, and takes no place in the order.
   */
  add(method, args, timeout, callback) {
    // First, because an overloaded caller calls this most.
    if (this.#count >= this.#pendingMax) throw errors.busy(this.#count, this.#characters)
    const quoted = this.#quoted.get(method) ?? quote(method)
    const text = encodeArgs(args)
    if (this.#characters + text.length > CHARACTERS_MAX) throw errors.busy(this.#count, this.#characters)
    const isTimed = timeout !== undefined && timeout !== null && timeout !== -1
    if (isTimed) {
      if (!isTimeout(timeout)) throw errors.invalidCall(TIMEOUT_RULE)
      const sequence = this.#next
      this.#timers.set(sequence, setTimeout(expire, timeout, this, sequence, method, timeout))
    }
    const promise = this.#hold(callback)
    this.#lengths.push(text.length)
    this.#count++
    this.#characters += text.length
    this.#turn += this.#turn === '' ? `${quoted},${text}` : `,${quoted},${text}`
    this.#flushLater()
    return promise
  }

  /** The sequence number of the next perform. */
  get #next() {
    return this.#first + this.#resolves.length
  }

  /** Remembers how the next perform ends: the promise, or the callback. */
  #hold(callback) {
    if (callback === undefined) {
      const promise = new Promise(capture)
      this.#resolves.push(captured.resolve)
      this.#rejects.push(captured.reject)
      return promise
    }
    // As a promise does, a callback runs in the async context of its caller (AsyncLocalStorage).
    const bound = AsyncResource.bind(callback)
    this.#resolves.push(action => nextTick(bound, null, action))
    this.#rejects.push(error => nextTick(bound, error))
    return undefined
  }

  resolve(sequence, action) {
    const position = sequence - this.#first
    const resolve = this.#resolves[position]
    if (resolve === undefined) return
    this.#end(position)
    resolve(action)
  }

  /** Returns whether it had not ended before. */
  reject(sequence, error) {
    const position = sequence - this.#first
    const reject = this.#rejects[position]
    if (reject === undefined) return false
    this.#end(position)
    reject(error)
    return true
  }

  expire(sequence, error) {
    if (!this.reject(sequence, error)) return
    this.#abandoned.push(sequence)
    this.#flushLater()
  }

  /** Ends all. `errorFor(outcome)` makes the error: `not-applied` for what the core was never told. */
  rejectAll(errorFor) {
    const end = this.#next
    for (let sequence = this.#first + this.#ended; sequence < end; sequence++) {
      this.reject(sequence, errorFor(sequence < this.#turnFirst ? 'unknown' : 'not-applied'))
    }
    this.#turn = ''
    this.#abandoned = []
  }

  /**
   * Hands over what there is: at the end of the turn, when methods may run, or before a close or an ask, in the middle of
   * the application's own code.
   */
  flush(mayEvaluate = false) {
    this.#isFlushDue = false
    const first = this.#turnFirst
    const turn = this.#turn
    const abandoned = this.#abandoned
    this.#turn = ''
    this.#turnFirst = this.#next
    try {
      if (turn !== '') {
        const batch = this.#native.perform(first, `[${turn}]`, mayEvaluate)
        if (batch !== null) this.#deliver(batch)
      }
      if (abandoned.length > 0) {
        this.#abandoned = []
        this.#native.abandon(JSON.stringify(abandoned))
      }
    } catch (error) {
      this.#onFault(error)
    }
  }

  /** A tick comes after the microtasks of the turn, so that what those perform goes along. */
  #flushLater() {
    if (this.#isFlushDue) return
    this.#isFlushDue = true
    nextTick(flush, this)
  }

  #end(position) {
    this.#resolves[position] = this.#rejects[position] = undefined
    this.#count--
    this.#characters -= this.#lengths[position]
    if (this.#timers.size > 0) this.#endTimer(this.#first + position)
    if (position === this.#ended) this.#advance()
  }

  #endTimer(sequence) {
    clearTimeout(this.#timers.get(sequence))
    this.#timers.delete(sequence)
  }

  #advance() {
    const resolves = this.#resolves
    while (this.#ended < resolves.length && resolves[this.#ended] === undefined) this.#ended++
    if (this.#ended === resolves.length || this.#ended >= STEP) this.#forget()
  }

  #forget() {
    for (const column of [this.#resolves, this.#rejects, this.#lengths]) {
      if (this.#ended === column.length) column.length = 0
      else column.splice(0, this.#ended)
    }
    this.#first += this.#ended
    this.#ended = 0
  }
}

/** What ended at the front of the table leaves it in steps: one by one would move all others each time. */
const STEP = 4096

/** One function for all promises: a closure for each would be made and thrown away. */
const captured = { resolve: undefined, reject: undefined }
function capture(resolve, reject) {
  captured.resolve = resolve
  captured.reject = reject
}

function flush(performs) {
  performs.flush(true)
}

function expire(performs, sequence, method, timeout) {
  performs.expire(sequence, errors.timeout(method, timeout))
}

function quote(method) {
  if (typeof method !== 'string' || method.length > 1024 || !method.isWellFormed()) {
    throw errors.invalidCall('the method must be the name of one: a string of at most 1024 characters')
  }
  return JSON.stringify(method)
}

function encodeArgs(args) {
  if (args === undefined || args === null) return '[]'
  if (!isArray(args)) throw errors.invalidCall('the arguments must be an array')
  try {
    const text = encode(args, 'args', DEPTH_MAX + 1)
    if (text === undefined || text[0] !== '[') throw errors.notJson('args', 'its toJSON gives no array')
    return text
  } catch (error) {
    throw Object.assign(error, { outcome: 'not-applied' })
  }
}

/** A revoked proxy does not even let itself be asked. */
function isArray(value) {
  try {
    return Array.isArray(value)
  } catch {
    return false
  }
}

module.exports = { Performs }
