// A lock that an application holds: what `acquire` resolves with.
//
// Made by locks-client.js. A lease is measured with this node's monotonic clock, from the moment before the call that
// began it: so this node never takes a lease for longer than the cluster does, as long as both clocks run alike.

'use strict'

const { AbortController, clearTimeout, now, setTimeout, wallClock } = require('../environment')
const errors = require('../errors')
const checks = require('./checks')
const lockEntry = require('./lock-entry')
const { TIMEOUT_MAX } = require('../timeout')

const noop = () => {}

class Lock {
  key
  owner
  mode
  permits
  /** Rises with each grant of any lock of this client's recipe. */
  token
  #mount
  #controller = null
  /** Why it is no longer held, or null. */
  #end = null
  #releasing = null
  /** When the lease ends, in milliseconds of the monotonic clock; Infinity without a lease. */
  #expiry = Infinity
  #timer = undefined
  #unwatch = noop

  /** @param origin `{ started, at }`: the moment before the call, and the time of its evaluation, or undefined. */
  constructor(mount, watch, key, { owner, mode, permits }, holder, { started, at }) {
    this.#mount = mount
    this.key = key
    this.owner = owner
    this.mode = mode
    this.permits = permits
    this.token = holder.token
    if (holder.until !== null) this.#lease(started + (holder.until - at))
    const unwatch = watch.add(key, owner, (entry, error) => this.#changed(entry, error))
    this.#unwatch = unwatch
    if (this.#end !== null) unwatch()
    if (Symbol.asyncDispose !== undefined) {
      Object.defineProperty(this, Symbol.asyncDispose, { value: () => this.release().then(noop) })
    }
  }

  /** Aborts when the lock is lost: its lease is over, its session has ended, or the node has. */
  get signal() {
    this.#controller ??= new AbortController()
    if (this.#end !== null) this.#controller.abort(this.#end)
    return this.#controller.signal
  }

  getKey() {
    return this.key
  }

  /** When the lease ends, in milliseconds since 1970 by this machine's clock; Infinity without a lease. */
  getTTL() {
    if (this.#expiry === Infinity) return Infinity
    return wallClock() + (this.#expiry - now())
  }

  /** Whether the lock is still held so many milliseconds from now, as far as this node knows. */
  isValidForDuration(duration) {
    return this.#end === null && now() + duration < this.#expiry
  }

  /** The lease ends so many milliseconds from now. Rejects if the lock is no longer held. */
  async extend(duration) {
    const rule = checks.milliseconds(1)(duration)
    if (rule !== undefined)
      throw errors.invalidCall(`extend: the duration must be ${rule}, got ${String(duration)}`)
    if (this.#end !== null) throw this.#end
    const started = now()
    await this.#mount.perform('extend', [this.key, this.owner, duration])
    if (this.#end !== null) throw this.#end
    this.#lease(started + duration)
  }

  /** Resolves with whether it was still held. Calling it again gives the same promise. */
  release() {
    this.#releasing ??= this.#release()
    return this.#releasing
  }

  async #release() {
    const wasHeld = this.#end === null
    this.#finish(released(this.key))
    const action = await this.#mount.perform('release', [this.key, this.owner])
    return wasHeld && action !== undefined
  }

  #lease(expiry) {
    this.#expiry = expiry
    clearTimeout(this.#timer)
    const left = expiry - now()
    this.#timer = setTimeout(() => this.#overdue(), Math.min(Math.max(0, left), TIMEOUT_MAX))
    this.#timer.unref()
  }

  #overdue() {
    if (this.#end !== null) return
    if (now() < this.#expiry) this.#lease(this.#expiry)
    else this.#finish(lost(this.key, 'its lease is over'))
  }

  #changed(entry, error) {
    if (error !== undefined) this.#finish(error)
    else if (entry === undefined || lockEntry.holderOf(entry, this.owner)?.token !== this.token) {
      this.#finish(lost(this.key, 'its lease is over, or the session of its owner has ended'))
    }
  }

  #finish(reason) {
    if (this.#end !== null) return
    this.#end = reason
    clearTimeout(this.#timer)
    this.#unwatch()
    this.#controller?.abort(reason)
  }
}

function lost(key, why) {
  return errors.core('ERR_CONFLUX_LOCK_LOST', `lock "${key}" is no longer held: ${why}`, { key })
}

function released(key) {
  return errors.core('ERR_CONFLUX_LOCK_LOST', `lock "${key}" is no longer held: it was released`, { key })
}

module.exports = { Lock }
