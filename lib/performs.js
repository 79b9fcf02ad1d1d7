// This file holds the performs of one node that have not ended yet, and hands new ones to the core.
//
// Those of one turn of the event loop go in one call. Each ends exactly once: resolved, rejected, or timed out.
//
// Any call may be cut off inside the application's own stack: it throws at the end of that stack, and a `vm` script with
// a time limit ends without as much as a `finally`. So whatever may throw comes first (what is scheduled then finds
// nothing to do), and a record is written by assignments alone, which nothing interrupts.

'use strict'

const { bind } = require('./callback')
const { Deferred } = require('./deferred')
const { clearTimeout, nextTick, setTimeout } = require('./environment')
const errors = require('./errors')
const { encode, DEPTH_MAX } = require('./json')
const { isTimeout, TIMEOUT_RULE } = require('./timeout')

/** Of all pending arguments together. */
const CHARACTERS_MAX = 64 * 1024 * 1024

class Performs {
  /** Set once, before the first perform. */
  native = null
  #pendingMax
  #deliver
  #onFault
  /** `#pending[i]` is the perform with the sequence number `#first + i`, until it has ended. */
  #pending = []
  #first = 1
  /** How many at the front have ended. */
  #ended = 0
  #count = 0
  #characters = 0
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
  constructor(options, deliver, onFault) {
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
    const end = callback === undefined ? new Deferred() : new Callback(callback)
    const entry = new Entry(end, text.length)
    this.#flushLater()
    if (isTimed) entry.timer = setTimeout(expire, timeout, this, entry, method, timeout)
    const turn = this.#turn === '' ? `${quoted},${text}` : `${this.#turn},${quoted},${text}`
    // Recorded from here on. There is no call below.
    entry.sequence = this.#first + this.#pending.length
    this.#pending[this.#pending.length] = entry
    this.#count++
    this.#characters += entry.length
    this.#turn = turn
    return end.promise
  }

  /** The sequence number of the next perform. */
  get #next() {
    return this.#first + this.#pending.length
  }

  resolve(sequence, action) {
    this.#take(sequence)?.resolve(action)
  }

  reject(sequence, error) {
    this.#take(sequence)?.reject(error)
  }

  /** The time of a perform is over. An entry that was never recorded is none. */
  expire(entry, error) {
    if (this.#pending[entry.sequence - this.#first] !== entry) return
    this.reject(entry.sequence, error)
    this.#abandoned.push(entry.sequence)
    this.#flushLater()
  }

  /** Ends all. `errorFor(outcome)` makes the error: `not-applied` for what the core was never told. */
  rejectAll(errorFor) {
    const end = this.#next
    for (let sequence = this.#first + this.#ended; sequence < end; sequence++) {
      this.#take(sequence)?.reject(errorFor(sequence < this.#turnFirst ? 'unknown' : 'not-applied'))
    }
    this.#turn = ''
    this.#abandoned = []
  }

  /** Hands over what there is before a close or an ask. If it throws, that is still to be done, and will be. */
  flush() {
    this.#handOver(false)
  }

  /** At the end of the turn, when methods may run. */
  flushTurn() {
    this.#isFlushDue = false
    try {
      const batch = this.#handOver(true)
      if (batch !== null) this.#deliver(batch)
      this.#handOverAbandoned()
    } catch (error) {
      this.#onFault(error)
    }
  }

  #handOver(mayEvaluate) {
    if (this.#turn === '') return null
    const text = `[${this.#turn}]`
    const next = this.#next
    const batch = this.native.perform(this.#turnFirst, text, mayEvaluate)
    // No call in between: what the core has accepted is not handed over again.
    this.#turn = ''
    this.#turnFirst = next
    return batch
  }

  #handOverAbandoned() {
    const abandoned = this.#abandoned
    if (abandoned.length === 0) return
    this.#abandoned = []
    this.native.abandon(JSON.stringify(abandoned))
  }

  /** A tick comes after the microtasks of the turn, so that what those perform goes along. */
  #flushLater() {
    if (this.#isFlushDue) return
    nextTick(flushTurn, this)
    this.#isFlushDue = true
  }

  /** The perform, which ends now; undefined if it has ended before. */
  #take(sequence) {
    const position = sequence - this.#first
    const entry = this.#pending[position]
    if (entry === undefined) return undefined
    this.#pending[position] = undefined
    this.#count--
    this.#characters -= entry.length
    if (entry.timer !== undefined) clearTimeout(entry.timer)
    if (position === this.#ended) this.#advance()
    return entry
  }

  #advance() {
    const pending = this.#pending
    while (this.#ended < pending.length && pending[this.#ended] === undefined) this.#ended++
    if (this.#ended === pending.length || this.#ended >= STEP) this.#forget()
  }

  #forget() {
    if (this.#ended === this.#pending.length) this.#pending.length = 0
    else this.#pending.splice(0, this.#ended)
    this.#first += this.#ended
    this.#ended = 0
  }
}

/** What ended at the front of the table leaves it in steps: one by one would move all others each time. */
const STEP = 4096

/** A perform in the table. */
class Entry {
  resolve
  reject
  sequence = 0
  /** Of its arguments' text. */
  length
  timer = undefined

  constructor({ resolve, reject }, length) {
    this.resolve = resolve
    this.reject = reject
    this.length = length
  }
}

/** What a callback has in the place of a promise. */
class Callback {
  promise = undefined
  resolve
  reject

  constructor(callback) {
    const bound = bind(callback)
    this.resolve = action => nextTick(bound, null, action)
    this.reject = error => nextTick(bound, error)
  }
}

function flushTurn(performs) {
  performs.flushTurn()
}

function expire(performs, entry, method, timeout) {
  performs.expire(entry, errors.timeout(method, timeout))
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
