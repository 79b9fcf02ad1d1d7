// Compares a new state with the previous one, verifies that the new parts survive JSON, and freezes them, in one step.
//
// Called by state-check.js. A part that is the same reference as before was verified before, and is skipped. Parts
// that are skipped because they would take too long are frozen by state-freezer.js, in slices.

'use strict'

const {
  Fault,
  becomes,
  describe,
  findFault,
  isOrdinaryArray,
  isOrdinaryObject,
  nameOf,
  DEPTH_MAX
} = require('./json-faults')
const { StateError } = require('./state-error')

const { freeze, hasOwn, isExtensible } = Object

/** A quick check compares all entries of containers up to this size. A copy costs about as much as the comparison. */
const SMALL_ENTRIES_MAX = 16
const SMALL_LENGTH_MAX = 64

/**
 * A former container with more is *huge*: also a thorough check compares only what the action names, because all entries
 * would take longer than a call may block the event loop.
 */
const HUGE_ENTRIES_MIN = 10_000
const HUGE_LENGTH_MIN = 100_000
/** The further properties of an array are found only by listing all its indexes, each as a string. */
const LISTED_LENGTH_MAX = 10_000

/**
 * A thorough check that has visited so many containers, because many have moved, goes on as a quick one: this takes
 * some ten milliseconds. A container counts once more for every this many entries.
 */
const VISITS_MAX = 4_000
const ENTRIES_PER_VISIT = 64

/** Thrown by a walk with a lens that has visited too many containers. */
const TOO_MANY_VISITS = new Error('too many containers have moved')

/** The reducer gets larger containers as they are: a proxy would make copying them far slower. */
const WATCHED_ENTRIES_MAX = 256

/** At the ends of a large array. */
const END_LENGTH = 4

/** Of the keys and indexes that an action names. */
const HINTS_MAX = 32

const NOTHING = Object.freeze(Object.create(null))
const NO_ITEMS = Object.freeze([])

/** The approximate number of entries of objects with more than `SMALL_ENTRIES_MAX`. */
const sizes = new WeakMap()

/** One comparison of a new state with the former one. */
class Walk {
  /** A copied container has the same entries as the former one. */
  hasIdleCopy = false
  /** Not all entries of a large container were looked at: some may not be frozen. */
  hasSkipped = false
  /** A container was huge. */
  hasHuge = false
  #isJson
  #isThorough
  #action
  #hints = null
  #visitsLeft = VISITS_MAX
  #lens
  /** Where JSON is not verified, a container may contain itself. */
  #visited

  /** @param lens by which the reducer saw the state, or null. */
  constructor(isJson, isThorough, action, lens) {
    this.#isJson = isJson
    this.#isThorough = isThorough
    this.#action = action
    this.#lens = lens
    this.#visited = isJson ? null : new Set()
  }

  /** Prepares for the next action. */
  reset(action) {
    this.hasIdleCopy = false
    this.hasSkipped = false
    this.hasHuge = false
    this.#action = action
    this.#hints = null
    this.#visited?.clear()
    return this
  }

  /** Verifies and freezes what is new. Throws a `StateError` at the first fault, or `TOO_MANY_VISITS`. */
  adopt(next, former) {
    if (former === undefined) this.#visitsLeft = Infinity
    const fault = this.#visit(next, former, 0)
    if (fault === null) return
    throw StateError.ofFault(fault.isTooDeep ? (findFault(next, 0, new Set()) ?? fault) : fault)
  }

  #visit(value, former, depth) {
    // Where the former container has no such entry, `former` is undefined, or inherited: a function.
    if (value === former && value !== undefined && typeof value !== 'function') return null
    if (typeof value === 'object') return value === null ? null : this.#visitContainer(value, former, depth)
    return this.#isJson ? findFault(value, depth, null) : null
  }

  #visitContainer(value, former, depth) {
    if (this.#isThorough && --this.#visitsLeft < 0) {
      // The rest may contain proxies anywhere.
      if (this.#lens !== null) throw TOO_MANY_VISITS
      this.#isThorough = false
      this.hasSkipped = true
    }
    // A frozen part was in a state before, or the reducer froze it.
    if (!this.#isThorough && depth > 0 && !isExtensible(value)) return null
    if (depth === DEPTH_MAX) return this.#isJson ? tooDeep() : null
    if (!this.#isJson) {
      if (this.#visited.has(value)) return null
      this.#visited.add(value)
    }
    const isArray = Array.isArray(value)
    const hasFormer = typeof former === 'object' && former !== null && Array.isArray(former) === isArray
    if (isArray) {
      if (!isOrdinaryArray(value)) return this.#isJson ? new Fault(becomes(value, 'an ordinary array')) : null
      const fault = this.#visitItems(value, hasFormer ? former : NO_ITEMS, depth + 1)
      if (fault !== null) return fault
    } else {
      if (!isOrdinaryObject(value)) return this.#isJson ? new Fault(describe(value)) : null
      const fault = this.#visitMembers(value, hasFormer ? former : NOTHING, depth + 1)
      if (fault !== null) return fault
    }
    freeze(value)
    return null
  }

  #visitItems(array, former, depth) {
    const { length } = array
    if (length <= SMALL_LENGTH_MAX || this.#comparesAll(former.length > HUGE_LENGTH_MIN)) {
      this.#visitsLeft -= Math.floor(length / ENTRIES_PER_VISIT)
      let isIdle = length === former.length
      for (let i = 0; i < length; i++) {
        if (array[i] === former[i] && array[i] !== undefined) continue
        isIdle = false
        const fault = this.#visitItem(array, former, i, depth)
        if (fault !== null) return fault
      }
      if (isIdle) this.hasIdleCopy = true
      return this.#isThorough && this.#isJson ? findMoreThanItems(array) : null
    }
    this.hasSkipped = true
    return this.#visitEnds(array, former, depth) ?? this.#visitHints(array, former, depth)
  }

  /** A reducer that saw the state by a lens may have put a proxy anywhere. */
  #comparesAll(isHuge) {
    if (isHuge) this.hasHuge = true
    return this.#isThorough && (!isHuge || this.#lens !== null)
  }

  /** The ends of a large array: what is beyond the former length is new. */
  #visitEnds(array, former, depth) {
    const { length } = array
    for (let i = 0; i < END_LENGTH; i++) {
      const fault = this.#visitItem(array, former, i, depth)
      if (fault !== null) return fault
    }
    for (let i = Math.max(END_LENGTH, Math.min(former.length, length - END_LENGTH)); i < length; i++) {
      const fault = this.#visitItem(array, former, i, depth)
      if (fault !== null) return fault
    }
    return null
  }

  #visitItem(array, former, i, depth) {
    const fault = this.#visit(this.#unwatched(array, i), former[i], depth)
    return fault === null ? null : fault.below(`[${i}]`)
  }

  #visitMembers(object, former, depth) {
    const formerSize = sizes.get(former)
    if (formerSize !== undefined && !this.#comparesAll(formerSize > HUGE_ENTRIES_MIN)) {
      sizes.set(object, formerSize)
      this.hasSkipped = true
      return this.#visitHints(object, former, depth)
    }
    let size = 0
    let isIdle = true
    for (const key in object) {
      size++
      const value = object[key]
      if (value === former[key] && (value !== undefined || key in former)) continue
      isIdle = false
      const fault = this.#visitMember(object, former, key, depth)
      if (fault !== null) return fault
    }
    noteSize(object, size)
    this.#visitsLeft -= Math.floor(size / ENTRIES_PER_VISIT)
    if (isIdle && former !== NOTHING && size === Object.keys(former).length) this.hasIdleCopy = true
    if (!this.#isThorough || !this.#isJson) return null
    const keys = Reflect.ownKeys(object)
    return keys.length === size ? null : findMoreThanMembers(object, keys)
  }

  #visitMember(object, former, key, depth) {
    if (this.#isThorough && this.#isJson) {
      const property = Object.getOwnPropertyDescriptor(object, key)
      // Inherited from an extended `Object.prototype`.
      if (property === undefined) return null
      if (property.get !== undefined || property.set !== undefined) {
        return new Fault('is an accessor, which JSON turns into its value').below(nameOf(key))
      }
    }
    const value = this.#unwatched(object, key)
    if (value === undefined) return null
    const fault = this.#visit(value, former[key], depth)
    return fault === null || !hasOwn(object, key) ? null : fault.below(nameOf(key))
  }

  /** The keys and indexes of a large container that the action names: most changes are at one of them. */
  #visitHints(container, former, depth) {
    this.#hints ??= hintsOf(this.#action)
    const isArray = Array.isArray(container)
    for (const key of this.#hints) {
      if (!hasOwn(container, key) || (isArray && typeof key !== 'number')) continue
      const fault = isArray
        ? this.#visitItem(container, former, key, depth)
        : this.#visitMember(container, former, key, depth)
      if (fault !== null) return fault
    }
    return null
  }

  /** Returns the entry. A proxy that a watched run put there is replaced by its target. */
  #unwatched(container, key) {
    const value = container[key]
    if (this.#lens === null || typeof value !== 'object' || value === null) return value
    const target = this.#lens.targetOf(value)
    if (target === undefined) return value
    // Throws if the reducer froze it: then the reducer runs once more, without proxies.
    container[key] = target
    return target
  }
}

/** Freezes a value that was just decoded from JSON, and everything in it. Deeper levels than a state may have stay. */
function freezeDecoded(value, depth) {
  if (typeof value !== 'object' || value === null || depth === DEPTH_MAX) return
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) freezeDecoded(value[i], depth + 1)
  } else {
    for (const key in value) freezeDecoded(value[key], depth + 1)
  }
  adoptDecoded(value)
}

/** Freezes a decoded array or object whose members are frozen. */
function adoptDecoded(value) {
  if (!Array.isArray(value)) noteSize(value, Object.keys(value).length)
  freeze(value)
}

/** The object has this many entries. */
function noteSize(object, size) {
  if (size > SMALL_ENTRIES_MAX) sizes.set(object, size)
}

function tooDeep() {
  const fault = new Fault(`nests deeper than ${DEPTH_MAX} levels`)
  // It may contain itself, which is found by remembering the path.
  fault.isTooDeep = true
  return fault
}

function findMoreThanItems(array) {
  if (array.length > LISTED_LENGTH_MAX) return null
  const keys = Reflect.ownKeys(array)
  // The last one is `length`, unless there are more.
  const more = keys.find((key, i) => key !== 'length' && String(i) !== key)
  if (more === undefined) return null
  return new Fault(`has the key ${String(more)}, which JSON leaves out of an array`)
}

function findMoreThanMembers(object, keys) {
  const more = keys.find(
    key => typeof key === 'symbol' || !Object.getOwnPropertyDescriptor(object, key).enumerable
  )
  if (more === undefined) return null
  const why = typeof more === 'symbol' ? '' : ' that is not enumerable'
  return new Fault(`has the key ${String(more)}${why}, which JSON leaves out`)
}

/** Strings, and numbers that may be an index, among the values and keys of the action. */
function hintsOf(action) {
  const hints = new Set()
  collectHints(action, hints, 0)
  return hints
}

function collectHints(value, hints, depth) {
  if (hints.size >= HINTS_MAX) return
  if (typeof value === 'string' || typeof value === 'number') hints.add(value)
  if (typeof value !== 'object' || value === null || depth > 2) return
  for (const key of Object.keys(value).slice(0, HINTS_MAX)) {
    if (!Array.isArray(value)) hints.add(key)
    collectHints(value[key], hints, depth + 1)
  }
}

/** About how many entries an object has, as far as that is known; 0 otherwise. */
function sizeOf(object) {
  return sizes.get(object) ?? 0
}

function isLarge(container) {
  const size = Array.isArray(container) ? container.length : sizeOf(container)
  return size > WATCHED_ENTRIES_MAX
}

module.exports = { TOO_MANY_VISITS, Walk, adoptDecoded, freezeDecoded, isLarge, noteSize, sizeOf }
