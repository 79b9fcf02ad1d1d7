// The holders and the queue of one lock, as a part of the state. Pure functions.
//
// Used by lock-state.js. An entry is `{ limit, held, queue }`. `limit` is null for a lock with readers and writers, else the
// number of permits. A request is `{ owner, id, session, mode, permits, duration, bySession }`; a holder is a request with
// `token`, `count` and `until`. A lease that was granted by the end of a session has no `until` yet, as its owner has not
// begun to use it: its owner begins it.

'use strict'

const isPending = holder => holder.duration !== null && holder.until === null

const hasExpired = (holder, at) => at !== null && holder.until !== null && holder.until <= at

/** @param limit null, or the number of permits. */
const empty = limit => ({ limit, held: [], queue: [] })

const isEmpty = ({ held, queue }) => held.length === 0 && queue.length === 0

const holderOf = (entry, owner) => entry.held.find(holder => holder.owner === owner)

const isQueued = (entry, owner) => entry.queue.some(request => request.owner === owner)

/** Whether the request could be granted beside the holders. */
function fits({ limit, held }, request) {
  if (held.length === 0) return true
  if (limit === null) return request.mode === 'read' && held.every(({ mode }) => mode === 'read')
  return held.reduce((sum, { permits }) => sum + permits, request.permits) <= limit
}

/** Whether the request would be granted at once. */
const isFree = (entry, request) => entry.queue.length === 0 && fits(entry, request)

/** The entry without leases that are over, and with waiting requests granted in their order. Returns it with the last token. */
function settle(entry, token, at) {
  const next = {
    ...entry,
    held: entry.held.filter(holder => !hasExpired(holder, at)),
    queue: [...entry.queue]
  }
  while (next.queue.length > 0 && fits(next, next.queue[0])) {
    token++
    next.held.push(toHolder(next.queue.shift(), token, at))
  }
  return { entry: next, token }
}

function toHolder(request, token, at) {
  const until = request.duration === null || at === null ? null : at + request.duration
  return { ...request, token, count: 1, until }
}

const queue = (entry, request) => ({ ...entry, queue: [...entry.queue, request] })

/** The entry with another holder of this owner; undefined removes it. */
function replaceHolder(entry, owner, holder) {
  const held = entry.held.flatMap(each =>
    each.owner !== owner ? [each] : holder === undefined ? [] : [holder]
  )
  return { ...entry, held }
}

/** The entry without the owner's request, and with one hold of it less. */
function release(entry, owner) {
  const holder = holderOf(entry, owner)
  if (holder === undefined) return { ...entry, queue: entry.queue.filter(request => request.owner !== owner) }
  return replaceHolder(entry, owner, holder.count > 1 ? { ...holder, count: holder.count - 1 } : undefined)
}

/** The entry without what ends with this session. A request that waits ends with it in any case. */
function endSession(entry, session) {
  const ends = holder => holder.session === session && (holder.bySession || isPending(holder))
  const held = entry.held.filter(holder => !ends(holder))
  const queue = entry.queue.filter(request => request.session !== session)
  return held.length === entry.held.length && queue.length === entry.queue.length
    ? entry
    : { ...entry, held, queue }
}

/** Whether a time is needed to settle the entry. */
function needsClock({ held, queue }) {
  return held.some(({ duration }) => duration !== null) || queue.some(({ duration }) => duration !== null)
}

/** When the first lease ends for which a request waits, or null. */
function nextDue({ held, queue }) {
  if (queue.length === 0) return null
  const ends = held.filter(({ until }) => until !== null).map(({ until }) => until)
  return ends.length === 0 ? null : Math.min(...ends)
}

module.exports = {
  empty,
  endSession,
  fits,
  hasExpired,
  holderOf,
  isEmpty,
  isFree,
  isQueued,
  needsClock,
  nextDue,
  queue,
  release,
  replaceHolder,
  settle
}
