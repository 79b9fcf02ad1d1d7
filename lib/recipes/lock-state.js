// The locks of a cluster, as a part of the state: its reducer. Pure functions.
//
// Used by locks.js. The state is `{ recipe, token, locks }`: the last fencing token, and a table of entries
// (lock-entry.js). An action carries `at`, the time of its evaluation, where a lease is concerned.

'use strict'

const lockEntry = require('./lock-entry')
const table = require('./table')

const INITIAL_STATE = Object.freeze({ recipe: 'locks/1', token: 0, locks: Object.freeze({}) })

const entryOf = (state, key) => table.get(state.locks, key)

/** The state after the action, whose type has no prefix. */
function reduce(state, action) {
  switch (action.type) {
    case 'REQUESTED':
      return request(sweep(state, action), action)
    case 'RELEASED':
      return change(state, action, entry => lockEntry.release(entry, action.owner))
    case 'EXTENDED':
      return change(state, action, entry => extend(entry, action))
    case 'EXPIRED':
      return change(state, action, entry => entry)
    case '@@conflux/SESSION_ENDED':
      return endSession(state, action)
    default:
      return state
  }
}

function request(state, { key, limit, request, at = null }) {
  const former = entryOf(state, key) ?? lockEntry.empty(limit)
  const settled = lockEntry.settle(former, state.token, at)
  // The last holder's lease may just have ended: then the lock is new.
  const entry = lockEntry.isEmpty(settled.entry) ? lockEntry.empty(limit) : settled.entry
  const holder = lockEntry.holderOf(entry, request.owner)
  if (holder === undefined) return settleInto(state, key, lockEntry.queue(entry, request), settled.token, at)
  const until = request.duration === null ? holder.until : Math.max(holder.until ?? 0, at + request.duration)
  const again = { ...holder, count: holder.count + 1, until }
  return put(state, key, lockEntry.replaceHolder(entry, request.owner, again), settled.token)
}

function extend(entry, { owner, duration, at }) {
  const holder = lockEntry.holderOf(entry, owner)
  if (holder === undefined) return entry
  return lockEntry.replaceHolder(entry, owner, { ...holder, duration, until: at + duration })
}

function change(state, { key, at = null }, edit) {
  const entry = entryOf(state, key)
  return entry === undefined ? state : settleInto(state, key, edit(entry), state.token, at)
}

function settleInto(state, key, entry, token, at) {
  const settled = lockEntry.settle(entry, token, at)
  return put(state, key, settled.entry, settled.token)
}

function put(state, key, entry, token) {
  return { ...state, token, locks: table.set(state.locks, key, lockEntry.isEmpty(entry) ? undefined : entry) }
}

/**
 * Removes locks whose leases are over: otherwise a lock whose owner died would stay forever unless another owner
 * acquires it.
 */
function sweep(state, { key, at = null }) {
  if (at === null) return state
  const isKept = ({ held, queue }) =>
    queue.length > 0 || !held.every(holder => lockEntry.hasExpired(holder, at))
  const locks = table.sweep(state.locks, key, isKept)
  return locks === state.locks ? state : { ...state, locks }
}

function endSession(state, { session, at = null }) {
  let next = state
  for (const [key, entry] of table.entries(state.locks)) {
    const ended = lockEntry.endSession(entry, session)
    if (ended !== entry) next = settleInto(next, key, ended, next.token, at)
  }
  return next
}

module.exports = { INITIAL_STATE, entryOf, reduce }
