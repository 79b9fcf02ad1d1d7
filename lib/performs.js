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
  /** `#pending[i]` is the perform with the sequence number `#first + i`, until it has ended. */
  #pending = []
  #first = 1
  /** How many at the front of `#pending` have ended. */
  #ended = 0
  #count = 0
  #characters = 0
  /** What goes to the core at the end of this turn. */
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
    if (isTimed && !isTimeout(timeout)) throw errors.invalidCall(TIMEOUT_RULE)
    const sequence = this.#first + this.#pending.length
    const perform = new Perform(text.length, callback)
    if (isTimed) perform.timer = setTimeout(expire, timeout, this, sequence, method, timeout)
    this.#pending.push(perform)
    this.#count++
    this.#characters += text.length
    this.#turn += `${this.#turn === '' ? '[' : ',['}${sequence},${quoted},${text}]`
    this.#flushLater()
    return perform.promise
  }

  resolve(sequence, action) {
    this.#take(sequence)?.resolve(action)
  }

  reject(sequence, error) {
    this.#take(sequence)?.reject(error)
  }

  expire(sequence, error) {
    const perform = this.#take(sequence)
    if (perform === undefined) return
    perform.reject(error)
    this.#abandoned.push(sequence)
    this.#flushLater()
  }

  /** Ends all. `errorFor(outcome)` makes the error: `not-applied` for what the core was never told. */
  rejectAll(errorFor) {
    const end = this.#first + this.#pending.length
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
    const turn = this.#turn
    const abandoned = this.#abandoned
    this.#turn = ''
    this.#turnFirst = this.#first + this.#pending.length
    try {
      if (turn !== '') {
        const batch = this.#native.perform(`[${turn}]`, mayEvaluate)
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

  /** The perform, which has ended with this; `undefined` if it had before. */
  #take(sequence) {
    const position = sequence - this.#first
    const perform = this.#pending[position]
    if (perform === undefined) return undefined
    this.#pending[position] = undefined
    this.#count--
    this.#characters -= perform.characters
    if (perform.timer !== undefined) clearTimeout(perform.timer)
    if (position === this.#ended) this.#advance()
    return perform
  }

  #advance() {
    const pending = this.#pending
    while (this.#ended < pending.length && pending[this.#ended] === undefined) this.#ended++
    if (this.#ended === pending.length) {
      this.#first += this.#ended
      pending.length = this.#ended = 0
    } else if (this.#ended >= STEP) {
      pending.splice(0, this.#ended)
      this.#first += this.#ended
      this.#ended = 0
    }
  }
}

/** What ended at the front of the table leaves it in steps: one by one would move all others each time. */
const STEP = 4096

/** One call of `perform`: its promise, or its callback. */
class Perform {
  promise
  timer
  characters
  #resolve
  #reject
  #callback

  constructor(characters, callback) {
    this.characters = characters
    if (callback === undefined) {
      this.promise = new Promise(capture)
      this.#resolve = captured.resolve
      this.#reject = captured.reject
    } else {
      // As a promise does, a callback runs in the async context of its caller (AsyncLocalStorage).
      this.#callback = AsyncResource.bind(callback)
    }
  }

  resolve(action) {
    if (this.#callback === undefined) this.#resolve(action)
    else nextTick(this.#callback, null, action)
  }

  reject(error) {
    if (this.#callback === undefined) this.#reject(error)
    else nextTick(this.#callback, error)
  }
}

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
