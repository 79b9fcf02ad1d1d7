// Protects states against mutation, and verifies that what a reducer puts into a state survives JSON.
//
// Called by application.js around every call of the reducer and of a method. It knows nothing of Raft.
//
// Every part of a state is frozen, so that strict-mode code which changes one throws at once. Each new state is compared
// with the former one: parts that are the same reference were verified before, only new ones are walked and frozen.
//
// Two things cost more than that. In sloppy-mode code a write to a frozen object is ignored in silence: it is noticed
// only if the reducer gets a copy (copies.js) or proxies (watch.js). And a large object or array that the reducer copied
// has to be compared entry by entry. These are the *thorough* check. It takes a share of the time of this thread
// (budget.js): under light load every action is checked thoroughly, under full load a part of them. The *quick* check of
// the others verifies and freezes what is new in small containers, at the ends of large arrays, and under the keys and
// indexes that the action names; what else is new in large containers is frozen after this turn of the event loop, in
// slices (state-freezer.js). A thorough check leaves that of huge containers to it, too.

'use strict'

const { RESERVED_MS, budgetOfAction, budgetOfCall, budgets } = require('./budget')
const { Copies } = require('./copies')
const { now } = require('./environment')
const errors = require('./errors')
const { FrozenLater } = require('./frozen-later')
const { StateError } = require('./state-error')
const { TOO_MANY_VISITS, Walk, isLarge } = require('./state-walk')
const { Watch } = require('./watch')

/** After this many watched runs in which proxies were in the way of the reducer, it is not watched any more. */
const UNWATCHABLE_MAX = 3

/** A state with more entries is shown by proxies, not as a copy. */
const COPIED_ENTRIES_MAX = 1000

/** About what it takes to check an action by a copy. */
const COPY_MS = 0.003
const COPY_ENTRY_MS = 0.0005

/** So often, before it is tried again whether the state has become smaller. */
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
  /** For this many actions it was not tried whether the state is small enough to be copied. */
  #copiesSkipped = 0
  /** For this many actions the reducer gets no proxies. */
  #watchesSkipped = 0
  /** So many entries were copied to check the last action; Infinity if it was checked otherwise. */
  #copied = Infinity
  /** What a method sees of the state, while one runs that is watched. */
  #methodWatch = null
  /** A method runs that has not asked for the state yet. */
  #mayWatch = false
  #budgetOfWatch = null
  #watchedSince = 0
  /** What checks may have left unfrozen. */
  #rest
  /** For every quick check: they make up the most of a busy node's. */
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

  /** The same of a reducer in strict mode: what it would change throws, as every state is frozen. */
  reduceStrictly(run, state, action) {
    const next = run(state, action)
    this.#adopt(next, state, action, false, null)
    return next
  }

  /** There is nothing in the state that the reducer could change. */
  #reduceScalar(run, state, action) {
    const next = run(state, action)
    if (typeof next === 'object' || !isJsonScalar(next)) this.#adopt(next, state, action, true, null)
    return next
  }

  /** Where JSON is not verified, a proxy could stay unseen in what is not plain. */
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
    // Also where the reducer caught what a trap threw.
    if (change !== null) {
      // Proxies know better in which place it began.
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
      // It is known, or of the watch.
    }
    if (watch.change !== null) throw StateError.ofChange(watch.change)
  }

  /**
   * What the method returns, which reads the state by `show`.
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

  /** What a method is shown of the state. */
  show(state) {
    if (typeof state !== 'object' || state === null) return state
    if (this.#methodWatch === null && this.#mayWatch) this.#watchMethod()
    return this.#methodWatch === null ? state : this.#methodWatch.show(state)
  }

  /** Most methods look at the state, but not all: only then is there anything to watch. */
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

/** What strict-mode code throws at a write to a frozen object, and what built-in functions do in any mode. */
function isWriteError(error) {
  return /read.only|not extensible|Cannot (delete|define|redefine) property/.test(textOf(error))
}

/** What a function throws that takes no proxies, such as `structuredClone`. */
function isOfProxy(error) {
  return nameOf(error) === 'DataCloneError' || /proxy|watched state/i.test(textOf(error))
}

function textOf(error) {
  return nameOf(error) === 'TypeError' ? errors.messageOf(error) : ''
}

/** Whatever was thrown may throw when it is looked at. */
function nameOf(error) {
  try {
    return error?.name
  } catch {
    return undefined
  }
}

module.exports = { StateCheck }
