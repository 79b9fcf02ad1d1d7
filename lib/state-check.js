// Protects states against mutation, and verifies that what a reducer puts into a state survives JSON.
//
// Called by application.js around every call of the reducer and of a method. It knows nothing of Raft.
//
// Every part of a state is frozen, so that strict-mode code which changes one throws at once. Each new state is compared
// with the former one: parts that are the same reference were verified before, only new ones are walked and frozen.
//
// Two things cost more than that. In sloppy-mode code a write to a frozen object fails silently: it is detected only
// if the reducer gets a copy (copies.js) or proxies (watch.js). And a large object or array that the reducer copied
// has to be compared entry by entry. These are the *thorough* check. It takes a share of the time of this thread
// (budget.js): under light load every action is checked thoroughly, under full load a part of them. The *quick* check
// of the others verifies and freezes what is new in small containers, at the ends of large arrays, and under the keys
// and indexes that the action names; everything else that is new in large containers is frozen after this turn of the
// event loop, in slices (state-freezer.js), and in huge containers even after a thorough check.

'use strict'

const { RESERVED_MS, budgetOfAction, budgetOfCall, budgets } = require('./budget')
const { Copies } = require('./copies')
const { now } = require('./environment')
const errors = require('./errors')
const { FrozenLater } = require('./frozen-later')
const { StateError } = require('./state-error')
const { TOO_MANY_VISITS, Walk, isLarge } = require('./state-walk')
const { Watch } = require('./watch')

/** After this many watched runs that failed because the reducer cannot work on proxies, it is no longer watched. */
const UNWATCHABLE_MAX = 3

/** A state with more entries is shown by proxies, not as a copy. */
const COPIED_ENTRIES_MAX = 1000

/**
 * The most that checking an action by a copy counts for: as long as it takes where the processor's caches have lost the code
 * since the last action. In a loop it takes a fifth. A longer time is the reducer's, or another process's.
 */
const COPY_MS = 0.015
const COPY_ENTRY_MS = 0.0005

/** After this many actions without a copy, the size of the state is checked again. */
const COPIES_SKIPPED = 32

/** After an action on a huge container, or one that moved much, proxies are not tried for this many actions. */
const WATCHES_SKIPPED = 256

/** A probe ends after this many reads, which is some ten milliseconds. */
const PROBE_READS_MAX = 50_000

class StateCheck {
  /** Whether the state is kept as JSON: without `serialize`. */
  #isJson
  /** How often the reducer worked on the state but not on proxies: it clones or freezes the state. */
  #unwatchable = 0
  /** The number of actions since the size of the state was last checked. */
  #copiesSkipped = 0
  /** The number of actions for which the reducer gets no more proxies. */
  #watchesSkipped = 0
  /** The number of entries that were copied to check the last action; Infinity if it was checked in another way. */
  #copied = Infinity
  /** The state as the running method sees it, while that is watched. */
  #methodWatch = null
  /** A method is running that has not read the state yet. */
  #mayWatch = false
  #budgetOfWatch = null
  #watchedSince = 0
  /** Freezes the parts that checks may have left unfrozen. */
  #rest
  /** Used by every quick check: most checks of a busy node are quick. */
  #quickWalk

  constructor(isJson) {
    this.#isJson = isJson
    this.#quickWalk = new Walk(isJson, false, null, null)
    this.#rest = new FrozenLater(isJson)
  }

  /** Protects a state that has no former one. Throws a `StateError` if JSON would not give it back. */
  protect(state) {
    new Walk(this.#isJson, true, null, null).adopt(state, undefined)
  }

  /**
   * The state after the action, protected.
   *
   * @param run calls the reducer. It is called again to find the path, and where proxies are in its way.
   * @param isCommitted the action was evaluated before, probably on another node.
   * @throws what the reducer throws, or a `StateError`: it changed the state in place, or made one that is not JSON.
   */
  reduce(run, state, action, isCommitted) {
    if (typeof state !== 'object' || state === null) return this.#reduceScalar(run, state, action)
    const budget = budgetOfAction()
    const reserved = isCommitted && budget === budgets.calm ? RESERVED_MS : 0
    if (!budget.allows(reserved)) return this.#reduceQuickly(run, state, action)
    const start = now()
    // A refused action takes time on no other node: only what succeeds is counted.
    this.#copied = Infinity
    const next = this.#canWatch(state)
      ? this.#reduceWatched(run, state, action)
      : this.#reduceUnwatched(run, state, action)
    budget.spend(start, COPY_MS + this.#copied * COPY_ENTRY_MS)
    return next
  }

  /** The same for a reducer in strict mode: its writes throw, because every state is frozen. */
  reduceStrictly(run, state, action) {
    const next = run(state, action)
    this.#adopt(next, state, action, false, null)
    return next
  }

  /** The state contains nothing that the reducer could change. */
  #reduceScalar(run, state, action) {
    const next = run(state, action)
    if (typeof next === 'object' || !isJsonScalar(next)) this.#adopt(next, state, action, true, null)
    return next
  }

  /** If JSON is not verified, a proxy could remain unseen in a value that is not plain. */
  #canWatch(state) {
    if (this.#watchesSkipped > 0) {
      this.#watchesSkipped--
      return false
    }
    return this.#isJson && this.#unwatchable < UNWATCHABLE_MAX && typeof state === 'object' && state !== null
  }

  #reduceQuickly(run, state, action) {
    const next = this.#run(run, state, action)
    if (this.#adopt(next, state, action, false, null) && budgets.probes.allows()) {
      const start = now()
      this.#probe(run, state, action)
      budgets.probes.spend(start)
    }
    return next
  }

  #reduceUnwatched(run, state, action) {
    const next = this.#run(run, state, action)
    if (this.#adopt(next, state, action, true, null)) this.#probe(run, state, action)
    return next
  }

  #run(run, state, action) {
    try {
      return run(state, action)
    } catch (error) {
      if (isWriteError(error)) this.#probe(run, state, action)
      throw error
    }
  }

  #reduceWatched(run, state, action) {
    const lens = this.#lensFor(state)
    let next
    let hasIdleCopy
    let change
    try {
      next = run(lens.show(state), action)
      next = lens.targetOf(next) ?? next
      change = lens.change
      if (change === null) hasIdleCopy = this.#adopt(next, state, action, true, lens)
    } catch (error) {
      if (StateError.is(error)) throw error
      change = lens.change
      if (change === null && error === TOO_MANY_VISITS) {
        this.#watchesSkipped = WATCHES_SKIPPED
        return this.#reduceQuickly(run, state, action)
      }
      if (change === null) {
        next = this.#reduceUnwatched(run, state, action)
        this.#unwatchable++
        return next
      }
    }
    // Even if the reducer caught the exception of a trap.
    if (change !== null) {
      // Proxies find the place of the change more precisely.
      this.#probe(run, state, action)
      throw StateError.ofChange(change)
    }
    if (lens.hasSkipped && hasIdleCopy) this.#probe(run, state, action)
    return next
  }

  /** Copies are quicker, where the whole state is small. */
  #lensFor(state) {
    if (this.#copiesSkipped === 0) {
      const copies = new Copies(state, COPIED_ENTRIES_MAX)
      if (!copies.isTooLarge) {
        this.#copied = copies.entries
        return copies
      }
    }
    this.#copiesSkipped = (this.#copiesSkipped + 1) % COPIES_SKIPPED
    return new Watch(isLarge)
  }

  /** Returns whether something in the new state is a copy that changed nothing: a write to it may have been lost. */
  #adopt(next, state, action, isThorough, lens) {
    if (next === state && typeof next !== 'function') return true
    const walk = isThorough ? new Walk(this.#isJson, true, action, lens) : this.#quickWalk.reset(action)
    walk.adopt(next, state)
    if (walk.hasSkipped) this.#rest.add(state, next)
    if (walk.hasHuge) this.#watchesSkipped = WATCHES_SKIPPED
    return walk.hasIdleCopy
  }

  /** Runs the reducer once more, and throws if it tries to change the state. What it returns or throws is dropped. */
  #probe(run, state, action) {
    if (typeof state !== 'object' || state === null) return
    const watch = new Watch(isLarge, PROBE_READS_MAX)
    try {
      run(watch.show(state), action)
    } catch {
      // The exception is known already, or comes from the watch.
    }
    if (watch.change !== null) throw StateError.ofChange(watch.change)
  }

  /**
   * Returns what the method returns. The method reads the state by `show`.
   *
   * @param run calls the method. It is called again to find the path, and where proxies are in its way.
   * @throws what the method throws, or a `StateError`: it changed the state in place.
   */
  call(run) {
    this.#budgetOfWatch = null
    this.#mayWatch = true
    let returned
    try {
      returned = this.#callWatched(run, null)
    } catch (error) {
      const isWatched = this.#budgetOfWatch !== null
      if (isWatched && (isWriteError(error) || isOfProxy(error))) return this.#callUnwatched(run)
      if (!isWatched && isWriteError(error)) this.#probeMethod(run)
      throw error
    }
    this.#budgetOfWatch?.spend(this.#watchedSince)
    return returned
  }

  #callUnwatched(run) {
    try {
      return run()
    } catch (error) {
      if (isWriteError(error)) this.#probeMethod(run)
      throw error
    }
  }

  /** `watch` is null if one is made when the method first asks for the state. */
  #callWatched(run, watch) {
    this.#methodWatch = watch
    let change = null
    try {
      const returned = run()
      change = this.#methodWatch?.change ?? null
      if (change === null) return returned
    } catch (error) {
      change = this.#methodWatch?.change ?? null
      if (change === null) throw error
    } finally {
      this.#methodWatch = null
      this.#mayWatch = false
    }
    throw StateError.ofChange(change)
  }

  #probeMethod(run) {
    try {
      this.#callWatched(run, new Watch(isLarge, PROBE_READS_MAX))
    } catch (error) {
      if (StateError.is(error)) throw error
    }
  }

  /** The state as a method sees it. */
  show(state) {
    if (typeof state !== 'object' || state === null) return state
    if (this.#methodWatch === null && this.#mayWatch) this.#watchMethod()
    return this.#methodWatch === null ? state : this.#methodWatch.show(state)
  }

  /** Called when the method reads the state; some never do, and need no watch. */
  #watchMethod() {
    this.#mayWatch = false
    const budget = budgetOfCall()
    if (!budget.allows()) return
    this.#budgetOfWatch = budget
    this.#watchedSince = now()
    this.#methodWatch = new Watch(isLarge)
  }
}

function isJsonScalar(value) {
  return typeof value === 'number'
    ? Number.isFinite(value)
    : typeof value === 'string' || typeof value === 'boolean'
}

/**
 * Whether it is the exception that strict-mode code, or a built-in function in any mode, throws at a write to a
 * frozen object.
 */
function isWriteError(error) {
  return /read.only|not extensible|Cannot (delete|define|redefine) property/.test(textOf(error))
}

/** Whether it is the exception of a function that accepts no proxies, such as `structuredClone`. */
function isOfProxy(error) {
  return nameOf(error) === 'DataCloneError' || /proxy|watched state/i.test(textOf(error))
}

function textOf(error) {
  return nameOf(error) === 'TypeError' ? errors.messageOf(error) : ''
}

/** The thrown value may itself throw when it is read. */
function nameOf(error) {
  try {
    return error?.name
  } catch {
    return undefined
  }
}

module.exports = { StateCheck }
