/**
 * The replicated application whose history is checked: lists, registers, locks, queues and counters, each
 * under keys of which only the newest are kept.
 *
 * Used by the processes under test as methods and reducer, and by the checks, which replay the log with the same
 * reducer. A method that refuses reports what it saw: that is an observation, and checked like a read.
 */
'use strict'

/** After so many actions the next key is used. Short lives keep lists short, and the register's search fast. */
const ACTIONS_PER_KEY = 600

/** A key that is older is dropped, and refused: calls may come late. */
const KEYS_KEPT = 6

/** So many of the last actions are named in the state: a node that replays its log shows only the last state of it. */
const RECENT_KEPT = 300

const INITIAL = {
  count: 0,
  digest: 0,
  recent: [],
  lists: {},
  registers: {},
  locks: {},
  queues: {},
  counters: {}
}

const methods = {
  append(id, key, value) {
    return decide(this, key, () => ({ type: 'append', id, key, value }))
  },
  write(id, key, value) {
    return decide(this, key, () => ({ type: 'write', id, key, value }))
  },
  cas(id, key, from, to) {
    return decide(this, key, state => {
      const value = state.registers[key] ?? null
      return value === from ? { type: 'cas', id, key, from, to } : refusal('MISMATCH', state, value)
    })
  },
  acquire(id, key, owner) {
    return decide(this, key, state => {
      const value = state.locks[key] ?? null
      return value === null ? { type: 'acquire', id, key, owner } : refusal('TAKEN', state, value)
    })
  },
  release(id, key, owner) {
    return decide(this, key, state => {
      const value = state.locks[key] ?? null
      return value === owner ? { type: 'release', id, key, owner } : refusal('NOT_YOURS', state, value)
    })
  },
  push(id, key, value) {
    return decide(this, key, () => ({ type: 'push', id, key, value }))
  },
  take(id, key) {
    return decide(this, key, state => {
      const [value] = state.queues[key] ?? []
      return value === undefined ? refusal('EMPTY', state, null) : { type: 'take', id, key, value }
    })
  },
  add(id, key, amount) {
    return decide(this, key, () => ({ type: 'add', id, key, amount }))
  },
  /** As large and as slow as legal calls get. Of the argument only its length matters; a history holds no more of it. */
  bulk(id, key, argument, bytes, cost) {
    spend(cost)
    const given = typeof argument === 'string' ? argument.length : argument
    return decide(this, key, () => ({ type: 'bulk', id, key, given, cost, data: 'a'.repeat(bytes) }))
  },
  /** Refuses, with so much data. */
  decline(id, key, bytes, cost) {
    spend(cost)
    return decide(this, key, state =>
      Object.assign(refusal('DECLINED', state, null), { data: 'e'.repeat(bytes) })
    )
  }
}

/** Real time, in the processes under test alone: a check that replays the log need not wait. */
let isSlow = false

/** From here on methods and reducer take the time that their calls name. */
function spendTime() {
  isSlow = true
}

function spend(milliseconds) {
  if (!isSlow) return
  for (const end = performance.now() + milliseconds; performance.now() < end;);
}

/** The action as a history holds it: of large data the length. */
function abridge(action) {
  return typeof action?.data === 'string' ? { ...action, data: action.data.length } : action
}

function decide(node, key, answer) {
  const state = node.getProvisionalState()
  return key < oldestKey(state) ? refusal('RETIRED', state, null) : answer(state)
}

/** `seen` and `digest` name the state that the refusal rests on. */
function refusal(code, { count, digest }, value) {
  return Object.assign(new Error(code), { code, seen: count, digest, value })
}

function reduce(state = INITIAL, action) {
  if (action === null) return state
  const next = {
    ...state,
    count: state.count + 1,
    digest: digest(state.digest, action.id),
    recent: [...state.recent.slice(1 - RECENT_KEPT), action.id]
  }
  const { key } = action
  if (action.type === 'bulk') spend(action.cost)
  switch (action.type) {
    case 'append':
      next.lists = { ...state.lists, [key]: [...(state.lists[key] ?? []), action.value] }
      break
    case 'write':
      next.registers = { ...state.registers, [key]: action.value }
      break
    case 'cas':
      next.registers = { ...state.registers, [key]: action.to }
      break
    case 'acquire':
      next.locks = { ...state.locks, [key]: action.owner }
      break
    case 'release':
      next.locks = { ...state.locks, [key]: null }
      break
    case 'push':
      next.queues = { ...state.queues, [key]: [...(state.queues[key] ?? []), action.value] }
      break
    case 'take':
      next.queues = { ...state.queues, [key]: state.queues[key].slice(1) }
      break
    case 'add':
      next.counters = { ...state.counters, [key]: (state.counters[key] ?? 0) + action.amount }
      break
  }
  return next.count % ACTIONS_PER_KEY === 0 ? withoutOldKeys(next) : next
}

/** The key to use next. Keys are numbers. */
function currentKey({ count }) {
  return Math.floor(count / ACTIONS_PER_KEY)
}

function oldestKey(state) {
  return currentKey(state) - KEYS_KEPT + 1
}

function withoutOldKeys(state) {
  const kept = things =>
    Object.fromEntries(Object.entries(things).filter(([key]) => Number(key) >= oldestKey(state)))
  const { lists, registers, locks, queues, counters } = state
  return {
    ...state,
    lists: kept(lists),
    registers: kept(registers),
    locks: kept(locks),
    queues: kept(queues),
    counters: kept(counters)
  }
}

/** FNV-1a over the ids, from one to the next: other actions, or the same in another order, give another digest. */
function digest(hash, text) {
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 16777619)
  return hash >>> 0
}

module.exports = { abridge, currentKey, methods, oldestKey, reduce, spendTime }
