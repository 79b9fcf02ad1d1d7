/**
 * Compares what each action does to a lock with the rules of locks, on each process as it applies them. It shares no code
 * with the recipe.
 *
 * Used by `lock-process.js`. Rules: a lock has one holder; each grant has a higher token than all before; grants follow the
 * order of the queue; a lock or a request ends only by a release of its owner, the end of its lease, or that of its session.
 */
'use strict'

class LockWatch {
  /** The number of this node's session, or null. */
  session = null
  #node
  #key
  #broken
  #sessionEnded
  /** By lock: its entry after the last action. */
  #entries = new Map()
  /** The highest token before the action. */
  #token = 0
  /** Owners of this process that wait; and the sessions of those of them that the log has granted a lock. */
  #waiting = new Set()
  #granted = new Map()

  /** @param broken called with a rule that does not hold; `sessionEnded` with the action of an end. */
  constructor(node, key, { broken, sessionEnded }) {
    this.#node = node
    this.#key = key
    this.#broken = broken
    this.#sessionEnded = sessionEnded
    node.on('session', ({ session }) => (this.session = session))
    node.subscribe(({ action, at }) => this.#apply(action, at))
  }

  /** This process waits for a lock as this owner, until `forget`. */
  expect(owner) {
    this.#waiting.add(owner)
  }

  forget(owner) {
    this.#waiting.delete(owner)
    this.#granted.delete(owner)
  }

  /** In which session the owner has its lock. */
  sessionOf(owner) {
    return this.#granted.get(owner) ?? this.session
  }

  /** Owners that the log granted a lock, and whose client still waits. */
  get unseen() {
    return [...this.#granted.keys()]
  }

  /** What holds or waits, of locks without a lease, in a table of locks. */
  leftIn(table) {
    return Object.values(table)
      .flatMap(shard => Object.values(shard))
      .flatMap(({ held, queue }) => [...held, ...queue])
      .filter(({ duration }) => duration === null)
      .map(({ owner }) => owner)
  }

  #apply(action, at) {
    // A snapshot replaces everything.
    if (action === undefined) this.#adopt()
    else if (action.type === '@@conflux/SESSION_ENDED') {
      this.#sessionEnded(action)
      for (const name of [...this.#entries.keys()]) this.#compare(name, action, at)
    } else if (action.type.startsWith(`${this.#key}/`)) {
      this.#compare(action.key, action, Math.max(at, action.at ?? 0))
    }
    this.#token = this.#node.getState()[this.#key].token
  }

  #adopt() {
    this.#entries.clear()
    const { token, locks } = this.#node.getState()[this.#key]
    this.#token = token
    for (const shard of Object.values(locks)) {
      for (const [name, entry] of Object.entries(shard)) this.#entries.set(name, entry)
    }
  }

  #compare(name, action, at) {
    const former = this.#entries.get(name) ?? { held: [], queue: [] }
    const entry = this.#find(name) ?? { held: [], queue: [] }
    if (entry === former) return
    const report = text => this.#broken(`"${name}", ${JSON.stringify(action)}: ${text}`)
    if (entry.held.length > 1) report(`${entry.held.length} holders`)
    for (const holder of former.held) {
      const isHeld = entry.held.some(({ token }) => token === holder.token)
      if (!isHeld && !mayEnd(holder, action, at)) report(`${holder.owner} lost the lock`)
    }
    const waiting = former.queue.map(({ owner }) => owner)
    if (action.type === `${this.#key}/REQUESTED`) waiting.push(action.request.owner)
    for (const { owner, token, session } of entry.held) {
      const isFormer = former.held.some(holder => holder.owner === owner && holder.token === token)
      if (isFormer) continue
      if (token <= this.#token) report(`${owner} got the token ${token} after ${this.#token}`)
      while (waiting.length > 0 && waiting[0] !== owner) {
        const passed = waiting.shift()
        if (!leaves(former.queue, passed, action)) report(`${passed} was passed over by ${owner}`)
      }
      if (waiting.shift() === undefined) report(`${owner} has the lock and did not wait`)
      this.#note(owner, session)
    }
    for (const owner of waiting) {
      const isQueued = entry.queue.some(request => request.owner === owner)
      if (!isQueued && !leaves(former.queue, owner, action)) report(`the request of ${owner} is gone`)
    }
    if (entry.held.length === 0 && entry.queue.length > 0) report('the lock is free, and requests wait')
    if (entry.held.length === 0 && entry.queue.length === 0) this.#entries.delete(name)
    else this.#entries.set(name, entry)
  }

  #find(name) {
    for (const shard of Object.values(this.#node.getState()[this.#key].locks)) {
      if (Object.hasOwn(shard, name)) return shard[name]
    }
    return undefined
  }

  /** The names of owners begin with the id of their node. */
  #note(owner, session) {
    const own = owner.slice(owner.indexOf('/') + 1)
    if (this.#waiting.has(own)) this.#granted.set(own, session)
  }
}

/** A lease that is over may still be in the state: the next action on a lock near by removes it. */
function mayEnd({ owner, session, bySession, duration, until }, action, at) {
  if (until !== null && at >= until) return true
  if (action.type === '@@conflux/SESSION_ENDED') {
    return action.session === session && (bySession || (duration !== null && until === null))
  }
  return action.type.endsWith('/RELEASED') && action.owner === owner
}

function leaves(queue, owner, action) {
  if (action.type === '@@conflux/SESSION_ENDED') {
    return queue.find(request => request.owner === owner)?.session === action.session
  }
  return action.type.endsWith('/RELEASED') && action.owner === owner
}

module.exports = { LockWatch }
