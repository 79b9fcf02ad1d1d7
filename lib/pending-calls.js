// Keeps the pending calls of one node and passes new ones to the core.
//
// The calls of one turn of the event loop are handed over together. Each ends exactly once: resolved, rejected, or
// timed out.
//
// Any call may be cut off inside the application's own stack: it throws at the end of that stack, and a `vm` script
// with a time limit ends without as much as a `finally`. Therefore operations that may throw come first (what is
// scheduled then finds nothing to do), and a record is written only by assignments, which nothing interrupts.

'use strict'

const { listen, reasonOf, unlisten } = require('./aborts')
const { callOptions } = require('./call-options')
const { withSite } = require('./call-stack')
const { bind } = require('./callback')
const { Deferred } = require('./deferred')
const { clearTimeout, nextTick, now, setTimeout } = require('./environment')
const errors = require('./errors')
const { encode, BESIDE_LENGTH_MIN, DEPTH_MAX } = require('./json')
const { shown } = require('./kind')
const { isTimeout, faultOfTimeout } = require('./timeout')

/** The limit of all pending arguments together. */
const CHARACTERS_MAX = 64 * 1024 * 1024

const OPTIONS = ['timeout', 'signal']

/** Thousands may time out together: the reason is not queried for each. */
const WAITING_FOR_MS = 10

class PendingCalls {
  /** Set once, before the first call. */
  native = null
  #pendingMax
  #deliver
  #onFault
  #askWaitingFor
  #waitingFor = null
  #waitingForAt = -Infinity
  #stacks
  /** `#pending[i]` is the call with the sequence number `#first + i`, until it has ended. */
  #pending = []
  #first = 1
  /** The number of ended calls at the front of `#pending`. */
  #ended = 0
  #count = 0
  #characters = 0
  /** What goes to the core next, from the sequence number `#turnFirst` on. */
  #turn = ''
  #turnFirst = 1
  /** The texts of large arguments in the turn, where a 0 stands for each of them. */
  #beside = []
  /** How many in the turn were aborted: they leave it before it goes to the core. */
  #withdrawn = 0
  #abandoned = []
  #isFlushDue = false
  #quoted = new Map()

  /**
   * @param stacks records the callers.
   * @param deliver given the batch that the core hands back at once, and the texts beside it.
   * @param onFault called with an exception of the addon, which only a bug can cause.
   * @param waitingFor returns what the node is waiting for, as text, or null.
   */
  constructor(options, stacks, deliver, onFault, waitingFor) {
    this.#pendingMax = options.maxPending
    this.#stacks = stacks
    this.#askWaitingFor = waitingFor
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
   * A new call, last in the order.
   *
   * @param options a timeout, `{ timeout, signal }`, or nothing.
   * @param callee the function that the application called.
   * @throws an error about an invalid call, which gets no sequence number.
   */
  add(method, args, options, callback, callee) {
    // Checked first: an overloaded application calls this most often.
    if (this.#count >= this.#pendingMax) throw errors.busy(this.#count, this.#characters)
    const quoted = this.#quoted.get(method) ?? quote(method)
    const text = encodeArgs(args)
    if (this.#characters + text.length > CHARACTERS_MAX) throw errors.busy(this.#count, this.#characters)
    let timeout = options
    let signal
    if (typeof options === 'object' && options !== null) ({ timeout, signal } = callOptions(options, OPTIONS))
    const isTimed = timeout !== undefined && timeout !== null && timeout !== -1
    if (isTimed && !isTimeout(timeout)) throw errors.invalidCall(faultOfTimeout(timeout))
    if (signal?.aborted) throw errors.aborted(describe(method), 'not-applied', reasonOf(signal))
    const end = callback === undefined ? new Deferred() : new Callback(callback)
    const entry = new Entry(end, method, text.length)
    const site = this.#stacks.capture(callee)
    this.#flushLater()
    if (isTimed) entry.timer = setTimeout(expire, timeout, this, entry, timeout)
    if (site !== undefined || signal !== undefined || callback !== undefined) {
      entry.call = new Call(this, entry, site, signal, callback !== undefined)
    }
    const isLarge = text.length >= BESIDE_LENGTH_MIN
    const item = isLarge ? '0' : text
    const turn = this.#turn === '' ? `${quoted},${item}` : `${this.#turn},${quoted},${item}`
    // Recorded from here on: no function is called below.
    entry.sequence = this.#first + this.#pending.length
    this.#pending[this.#pending.length] = entry
    this.#count++
    this.#characters += entry.length
    this.#turn = turn
    if (isLarge) this.#beside[this.#beside.length] = text
    return end.promise
  }

  /** The sequence number of the next call. */
  get #next() {
    return this.#first + this.#pending.length
  }

  resolve(sequence, action) {
    this.#take(sequence)?.resolve(action)
  }

  reject(sequence, error) {
    const entry = this.#take(sequence)
    if (entry !== undefined) this.#reject(entry, error)
  }

  /** The leader's method refused, or threw. An own `method` or `leader` of the error stays. */
  refuse(sequence, error, leader) {
    const entry = this.#take(sequence)
    if (entry === undefined) return
    if (!Object.hasOwn(error, 'method')) error.method = entry.method
    if (!Object.hasOwn(error, 'leader')) error.leader = leader
    this.#reject(entry, error)
  }

  #reject(entry, error) {
    const { call } = entry
    if (call?.isCallback) entry.reject(call.site === undefined ? error : withSite(error, call.site))
    else this.#stacks.reject(entry, error, call?.site)
  }

  /** The timeout of a call is over. */
  expire(entry, timeout) {
    this.#giveUp(entry, outcome => errors.timeout(entry.method, timeout, outcome, this.#waitingForNow()))
  }

  abort(entry, signal) {
    this.#giveUp(entry, outcome => errors.aborted(describe(entry.method), outcome, reasonOf(signal)))
  }

  /** The caller no longer waits. An entry that was never recorded is ignored. */
  #giveUp(entry, errorFor) {
    if (this.#pending[entry.sequence - this.#first] !== entry || entry.isWithdrawn) return
    if (entry.sequence >= this.#turnFirst) {
      this.#withdraw(entry)
      this.#reject(entry, errorFor('not-applied'))
      return
    }
    if (this.native.withdraw(entry.sequence)) {
      this.reject(entry.sequence, errorFor('not-applied'))
      return
    }
    this.reject(entry.sequence, errorFor('unknown'))
    this.#abandoned.push(entry.sequence)
    this.#flushLater()
  }

  /** Removes the call from the turn, which the core does not have yet. */
  #withdraw(entry) {
    entry.isWithdrawn = true
    this.#withdrawn++
    this.#count--
    this.#characters -= entry.length
    entry.rest()
  }

  /** Once for all of a turn: thousands may be aborted by one signal. */
  #dropWithdrawn() {
    if (this.#withdrawn === 0) return
    const pending = this.#pending
    const begin = this.#turnFirst - this.#first
    const items = JSON.parse(`[${this.#turn}]`)
    const isKept = i => !pending[begin + (i >> 1)].isWithdrawn
    const turn = JSON.stringify(items.filter((_, i) => isKept(i))).slice(1, -1)
    const large = [...items.keys()].filter(i => items[i] === 0)
    const beside = this.#beside.filter((_, i) => isKept(large[i]))
    // No function is called below.
    this.#turn = turn
    this.#beside = beside
    this.#withdrawn = 0
    let end = begin
    for (let i = begin; i < pending.length; i++) {
      const entry = pending[i]
      if (entry.isWithdrawn) continue
      entry.sequence = this.#first + end
      pending[end++] = entry
    }
    pending.length = end
  }

  #waitingForNow() {
    const time = now()
    if (time - this.#waitingForAt > WAITING_FOR_MS) {
      this.#waitingFor = this.#askWaitingFor()
      this.#waitingForAt = time
    }
    return this.#waitingFor
  }

  /** Ends all. `errorFor(outcome)` makes the error: `not-applied` for calls that the core never received. */
  rejectAll(errorFor) {
    this.#dropWithdrawn()
    const end = this.#next
    for (let sequence = this.#first + this.#ended; sequence < end; sequence++) {
      this.reject(sequence, errorFor(sequence < this.#turnFirst ? 'unknown' : 'not-applied'))
    }
    this.#turn = ''
    this.#beside = []
    this.#abandoned = []
  }

  /** Hands over the turn before a close or an operation. If it throws, the turn is handed over later. */
  flush() {
    this.#handOver(false)
  }

  /** At the end of the turn, when methods may run. */
  flushTurn() {
    this.#isFlushDue = false
    try {
      const batch = this.#handOver(true)
      if (batch !== null) this.#deliverOwn(batch)
      this.#handOverAbandoned()
    } catch (error) {
      this.#onFault(error)
    }
  }

  #deliverOwn(batch) {
    if (typeof batch === 'string') this.#deliver(batch, null)
    else this.#deliver(batch[0], batch.slice(1))
  }

  #handOver(mayEvaluate) {
    this.#dropWithdrawn()
    if (this.#turn === '') return null
    const text = `[${this.#turn}]`
    const next = this.#next
    const beside = this.#beside.length > 0 ? this.#beside : undefined
    const none = beside === undefined ? this.#beside : []
    const batch = this.native.perform(this.#turnFirst, text, mayEvaluate, beside)
    // No function is called in between: calls that the core has accepted are not handed over again.
    this.#turn = ''
    this.#beside = none
    this.#turnFirst = next
    return batch
  }

  #handOverAbandoned() {
    const abandoned = this.#abandoned
    if (abandoned.length === 0) return
    this.#abandoned = []
    this.native.abandon(JSON.stringify(abandoned))
  }

  /** A tick comes after the microtasks of the turn, so that their calls are included. */
  #flushLater() {
    if (this.#isFlushDue) return
    nextTick(flushTurn, this)
    this.#isFlushDue = true
  }

  /** The call, which ends now; undefined if it has ended before. */
  #take(sequence) {
    const position = sequence - this.#first
    const entry = this.#pending[position]
    if (entry === undefined) return undefined
    this.#pending[position] = undefined
    this.#count--
    this.#characters -= entry.length
    entry.rest()
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

/** Ended calls at the front of the table are removed in steps: removing one at a time would move all others each time. */
const STEP = 4096

/** A call in the table. */
class Entry {
  resolve
  reject
  sequence = 0
  method
  /** Of its arguments' text. */
  length
  timer = undefined
  /** Set only for calls with a callback, a signal, or frames of their caller. */
  call = undefined
  isWithdrawn = false

  constructor({ resolve, reject }, method, length) {
    this.resolve = resolve
    this.reject = reject
    this.method = method
    this.length = length
  }

  /** The call has ended: stops its timer and its signal. */
  rest() {
    if (this.timer !== undefined) clearTimeout(this.timer)
    if (this.call !== undefined) this.call.rest()
  }
}

/** A call with a callback, a signal, or the frames of its caller. */
class Call {
  isCallback
  site
  #calls
  #entry
  #signal

  constructor(calls, entry, site, signal, isCallback) {
    this.#calls = calls
    this.#entry = entry
    this.#signal = signal
    this.site = site
    this.isCallback = isCallback
    if (signal !== undefined) listen(signal, this)
  }

  aborted(signal) {
    this.#calls.abort(this.#entry, signal)
  }

  rest() {
    if (this.#signal !== undefined) unlisten(this.#signal, this)
  }
}

/** Takes the place of a promise for a call with a callback. */
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

function flushTurn(calls) {
  calls.flushTurn()
}

function expire(calls, entry, timeout) {
  calls.expire(entry, timeout)
}

const describe = method => `performing \`${method}\``

function quote(method) {
  if (typeof method !== 'string' || method.length > 1024 || !method.isWellFormed()) {
    throw errors.invalidCall('`method` must be the name of a method: a string of at most 1024 characters')
  }
  return JSON.stringify(method)
}

function encodeArgs(args) {
  if (args === undefined || args === null) return '[]'
  if (!isArray(args)) {
    const hint = typeof args === 'function' ? ': the callback comes after the arguments' : ''
    throw errors.invalidCall(`the arguments must be an array, got ${shown(args)}${hint}`)
  }
  try {
    const text = encode(args, 'args', DEPTH_MAX + 1)
    if (text === undefined || text[0] !== '[') throw errors.notJson('args', 'its toJSON returns no array')
    return text
  } catch (error) {
    throw Object.assign(error, { outcome: 'not-applied' })
  }
}

/** `Array.isArray` throws for a revoked proxy. */
function isArray(value) {
  try {
    return Array.isArray(value)
  } catch {
    return false
  }
}

module.exports = { PendingCalls }
