// Takes locks for an application: `locks.client(node, key)`.
//
// Called by recipes.js. A request waits in the replicated state, and its client waits for the action that grants it: it is
// called after each action, and never asks again.

'use strict'

const { randomUUID } = require('node:crypto')
const { now } = require('../environment')
const errors = require('../errors')
const { reasonOf } = require('../aborts')
const { kindOf } = require('../kind')
const checks = require('./checks')
const lockEntry = require('./lock-entry')
const { entryOf } = require('./lock-state')
const { Lock } = require('./lock')
const { locks } = require('./locks')
const { Mount } = require('./mount')
const { Waiter } = require('./waiter')

const { hasOwn } = Object

const OPTIONS = {
  mode: checks.oneOf('write', 'read'),
  permits: checks.integer(1),
  limit: checks.integer(1),
  duration: checks.milliseconds(1),
  session: checks.boolean,
  owner: checks.text,
  reentrant: checks.boolean,
  maxWait: checks.milliseconds(0),
  signal: checks.signal
}

const NEEDS_SESSION =
  'a lock without a `duration` is released when the session of its owner ends: open the nodes with the option `sessions`, or give a `duration`'

const noop = () => {}

/** @returns a client of the locks that are mounted under this key. */
function client(node, key) {
  return new Locks(new Mount(node, key, locks()))
}

class Locks {
  #mount
  #watch
  #id
  #ownName = randomUUID().slice(0, 8)
  #count = 0

  constructor(mount) {
    this.#mount = mount
    this.#watch = new OwnerWatch(mount)
    this.#id = mount.node.status().id
  }

  /** Resolves with a `Lock` once it is granted. */
  async acquire(key, options) {
    const { request, maxWait, signal } = this.#requestOf(key, options)
    if (signal?.aborted) throw errors.aborted(`acquiring lock "${key}"`, 'not-applied', reasonOf(signal))
    const started = now()
    const isBounded = maxWait !== undefined && maxWait > 0
    let action
    try {
      action = await this.#mount.performInSession('acquire', [key, request], {
        timeout: isBounded ? maxWait : undefined,
        signal,
        needsSession: request.bySession && NEEDS_SESSION
      })
    } catch (error) {
      if (error.outcome === 'unknown') this.#giveUp(key, request.owner)
      if (error.code === 'ERR_CONFLUX_TIMEOUT') throw timedOut(key, maxWait, error)
      throw error
    }
    const remaining = isBounded ? maxWait - (now() - started) : undefined
    let holder = this.#holder(key, request.owner)
    if (holder === undefined) holder = await this.#granted(key, request.owner, maxWait, remaining, signal)
    const origin = { started, at: action.at }
    const lock = new Lock(this.#mount, this.#watch, key, request, holder, origin)
    // A grant that came with the end of a session has no time: the lease begins now.
    if (holder.duration !== null && holder.until === null) await lock.extend(request.duration)
    return lock
  }

  /** Runs the function while it holds the lock, and resolves with what that returns. */
  async run(key, options, task) {
    if (typeof options === 'function') [options, task] = [undefined, options]
    if (typeof task !== 'function')
      throw errors.invalidCall(`\`run\` takes a function, which it calls with the lock, got ${kindOf(task)}`)
    const lock = await this.acquire(key, options)
    let result
    try {
      result = await task(lock)
    } catch (error) {
      await lock.release().catch(noop)
      throw error
    }
    await lock.release()
    return result
  }

  /** Who holds the lock, as this node knows. */
  holders(key) {
    const entry = entryOf(this.#mount.state, checks.name('a lock', key))
    return (entry?.held ?? []).map(({ owner, id, mode, permits, token, until }) => ({
      owner,
      id,
      mode,
      permits,
      token,
      until
    }))
  }

  /** How many requests wait for the lock, as this node knows. */
  waiting(key) {
    return entryOf(this.#mount.state, checks.name('a lock', key))?.queue.length ?? 0
  }

  #requestOf(key, options) {
    checks.name('a lock', key)
    const given = checks.options('acquire', options, OPTIONS)
    const { limit = null, permits = 1, mode = 'write', duration = null, maxWait, signal } = given
    if (limit === null && given.permits !== undefined)
      throw errors.invalidCall('acquire: "permits" needs a "limit"')
    if (limit !== null && given.mode !== undefined) {
      throw errors.invalidCall('acquire: "mode" and "limit" exclude each other')
    }
    if (limit !== null && permits > limit) {
      throw errors.invalidCall(`acquire: "permits" must be at most the "limit" of ${limit}, got ${permits}`)
    }
    if (duration === null && given.session === false) {
      throw errors.invalidCall('acquire: without a session, a lock needs a "duration"')
    }
    if (given.reentrant && given.owner === undefined) {
      throw errors.invalidCall(
        'acquire: "reentrant" needs an "owner": only the same owner takes a lock again'
      )
    }
    const request = {
      id: this.#id,
      owner: `${this.#id}/${given.owner ?? `${this.#ownName}-${++this.#count}`}`,
      mode,
      permits,
      limit,
      duration,
      bySession: given.session ?? duration === null,
      reentrant: given.reentrant ?? false,
      wait: maxWait !== 0
    }
    return { request, maxWait, signal }
  }

  #holder(key, owner) {
    const entry = entryOf(this.#mount.state, key)
    return entry === undefined ? undefined : lockEntry.holderOf(entry, owner)
  }

  /** Resolves with the holder once the request is granted. */
  #granted(key, owner, maxWait, remaining, signal) {
    const waiter = new Waiter()
    const stop = this.#watch.add(key, owner, (entry, error) => {
      const holder = entry === undefined ? undefined : lockEntry.holderOf(entry, owner)
      if (holder !== undefined) waiter.end(() => waiter.resolve(holder))
      else if (error !== undefined) waiter.end(() => waiter.reject(error))
      else if (entry === undefined || !lockEntry.isQueued(entry, owner)) {
        waiter.end(() => waiter.reject(lostWhileWaiting(key)))
      }
    })
    waiter.onEnd(stop)
    if (remaining !== undefined) {
      waiter.limit(remaining, () => this.#withdraw(key, owner, waiter, timedOut(key, maxWait)))
    }
    if (signal !== undefined) {
      waiter.abortedBy(signal, () =>
        this.#withdraw(
          key,
          owner,
          waiter,
          errors.aborted(`acquiring lock "${key}"`, 'not-applied', reasonOf(signal))
        )
      )
    }
    return waiter.promise
  }

  /** The request leaves the queue. If it is granted first, it is given back. */
  #withdraw(key, owner, waiter, error) {
    this.#giveUp(key, owner)
    waiter.end(() => waiter.reject(error))
  }

  /** The node evaluates its calls in order: this one comes after that of the request. */
  #giveUp(key, owner) {
    if (this.#mount.node.status().state !== 'open') return
    this.#mount.perform('release', [key, owner]).catch(noop)
  }
}

/** Calls back when the lock of an owner changes: one subscription for all of them. */
class OwnerWatch {
  #mount
  /** By lock, then by owner. */
  #watched = new Map()
  #stop = undefined
  #onClose = () => this.#close()

  constructor(mount) {
    this.#mount = mount
  }

  /**
   * @param check called with the entry of the lock, or undefined, now and after each change; and with an error once the node
   *   has ended.
   * @returns what ends it.
   */
  add(key, owner, check) {
    if (this.#watched.size === 0) {
      this.#stop = this.#mount.listen(action => this.#notify(action))
      this.#mount.node.once('close', this.#onClose)
    }
    const owners = this.#watched.get(key) ?? new Map()
    this.#watched.set(key, owners)
    const entry = { check }
    owners.set(entry, owner)
    check(entryOf(this.#mount.state, key))
    return () => this.#remove(key, entry)
  }

  #remove(key, entry) {
    const owners = this.#watched.get(key)
    if (owners === undefined || !owners.delete(entry) || owners.size > 0) return
    this.#watched.delete(key)
    if (this.#watched.size > 0) return
    this.#stop()
    this.#mount.node.off('close', this.#onClose)
  }

  #notify(action) {
    // The end of a session, and a snapshot, may concern every lock.
    const key = action !== undefined && hasOwn(action, 'key') ? action.key : undefined
    if (key !== undefined) this.#check(key)
    else for (const key of [...this.#watched.keys()]) this.#check(key)
  }

  #check(key, error) {
    const owners = this.#watched.get(key)
    if (owners === undefined) return
    const entry = entryOf(this.#mount.state, key)
    for (const { check } of [...owners.keys()]) check(entry, error)
  }

  #close() {
    const error = errors.closed('unknown')
    for (const key of [...this.#watched.keys()]) this.#check(key, error)
  }
}

function timedOut(key, maxWait, cause) {
  return errors.core('ERR_CONFLUX_LOCK_TIMEOUT', `lock "${key}" was not granted within ${maxWait} ms`, {
    key,
    maxWait,
    cause
  })
}

function lostWhileWaiting(key) {
  return errors.core(
    'ERR_CONFLUX_LOCK_LOST',
    `the request for lock "${key}" has ended: the session of this node ended, or the lease was over before this node knew of it`,
    { key }
  )
}

module.exports = { client }
