// Locks by key, as a recipe: what its methods decide on the leader.
//
// Called by recipes.js and, for each call of a method, by compose.js. locks-client.js is what applications use. A method
// computes the next state to learn when the next lease ends: a timer of that time passes the lock on, if a request waits.

'use strict'

const errors = require('../errors')
const { builtIn } = require('./built-in')
const lockEntry = require('./lock-entry')
const { INITIAL_STATE, entryOf, reduce } = require('./lock-state')
const { needsSession } = require('./sessions')

/** The recipe. */
function locks() {
  return builtIn({ name: 'locks', initialState: INITIAL_STATE, methods, reduce })
}

const methods = {
  /**
   * Takes the lock, or queues for it.
   *
   * @param asked `{ id, owner, mode, permits, limit, duration, bySession, reentrant, wait }`; `limit` is null for a lock with
   *   readers and writers.
   */
  acquire(key, { id, owner, mode, permits, limit, duration, bySession, reentrant, wait }) {
    const { session } = this.caller
    if (bySession && session === null) return needsSession('locks')
    const { state } = this
    const former = entryOf(state, key)
    const isTimed = duration !== null || (former !== undefined && lockEntry.needsClock(former))
    const at = isTimed ? this.now() : null
    const entry = former === undefined ? lockEntry.empty(limit) : lockEntry.settle(former, 0, at).entry
    const isNew = lockEntry.isEmpty(entry)
    if (!isNew && entry.limit !== limit) return otherLimit(key, entry.limit, limit)
    const request = { owner, id, session, mode, permits, duration, bySession }
    const holder = lockEntry.holderOf(entry, owner)
    if (holder !== undefined || lockEntry.isQueued(entry, owner)) {
      const fault = faultOfReentry(holder, request, reentrant)
      if (fault !== undefined) return errors.invalidCall(`lock "${key}": ${fault}`)
    } else if (!wait && !isNew && !lockEntry.isFree(entry, request)) return held(key, entry)
    const action = { type: 'REQUESTED', key, limit, request }
    return commit(this, timed(action, at))
  },

  /** Gives one hold of the owner back, or ends its wait. Returns nothing if there is neither. */
  release(key, owner) {
    const entry = entryOf(this.state, key)
    if (entry === undefined) return null
    if (lockEntry.holderOf(entry, owner) === undefined && !lockEntry.isQueued(entry, owner)) return null
    const at = lockEntry.needsClock(entry) ? this.now() : null
    return commit(this, timed({ type: 'RELEASED', key, owner }, at))
  },

  /** The lease ends `duration` from now. */
  extend(key, owner, duration) {
    const at = this.now()
    const holder = lockEntry.holderOf(entryOf(this.state, key) ?? lockEntry.empty(null), owner)
    if (holder === undefined || lockEntry.hasExpired(holder, at)) return lost(key)
    return commit(this, { type: 'EXTENDED', key, owner, duration, at })
  },

  /** Called by the timer of the lock. */
  expire(key) {
    const entry = entryOf(this.state, key)
    if (entry === undefined) return null
    const at = Math.max(this.now(), this.scheduledAt ?? 0)
    return commit(this, { type: 'EXPIRED', key, at })
  }
}

const timed = (action, at) => (at === null ? action : { ...action, at })

/** The action, with the timer that its state needs. */
function commit(context, action) {
  const { state } = context
  const { key } = action
  const before = dueOf(state, key)
  const due = dueOf(reduce(state, action), key)
  // The timer that calls `expire` is over.
  const isSame = due === before && action.type !== 'EXPIRED'
  if (due !== null && !isSame) context.schedule(key, { at: due, method: 'expire', args: [key] })
  if (due === null && before !== null && action.type !== 'EXPIRED') context.unschedule(key)
  return action
}

function dueOf(state, key) {
  const entry = entryOf(state, key)
  return entry === undefined ? null : lockEntry.nextDue(entry)
}

function faultOfReentry(holder, request, reentrant) {
  if (!reentrant)
    return `"${request.owner}" already holds it or waits for it; "reentrant: true" lets an owner take it again`
  if (holder === undefined) return `"${request.owner}" already waits for it`
  if (holder.mode !== request.mode || holder.permits !== request.permits) {
    return `"${request.owner}" holds it with another mode or number of permits`
  }
  if (holder.bySession !== request.bySession || (request.bySession && holder.session !== request.session)) {
    return `"${request.owner}" holds it by another session`
  }
  return (holder.duration === null) === (request.duration === null)
    ? undefined
    : `"${request.owner}" holds it ${holder.duration === null ? 'without' : 'with'} a duration`
}

function otherLimit(key, limit, asked) {
  const kind = limit => (limit === null ? 'a lock' : `a semaphore with a limit of ${limit}`)
  return errors.core('ERR_CONFLUX_INVALID_ARGUMENT', `"${key}" is ${kind(limit)}, and not ${kind(asked)}`)
}

function held(key, { held, queue }) {
  const holders = held.map(({ owner }) => owner)
  return errors.core('ERR_CONFLUX_LOCK_TIMEOUT', `lock "${key}" is held by ${holders.join(', ')}`, {
    key,
    holders,
    waiting: queue.length
  })
}

function lost(key) {
  return errors.core('ERR_CONFLUX_LOCK_LOST', `lock "${key}" is no longer held by this owner`, { key })
}

module.exports = { locks }
