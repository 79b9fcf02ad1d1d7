// Freezes everything that is new in a state, in slices. It verifies nothing.
//
// Used by frozen-later.js, and by application.js for what the application's `deserialize` returned.

'use strict'

const { now } = require('./environment')
const { DEPTH_MAX, isOrdinaryArray, isOrdinaryObject } = require('./json-faults')
const { noteSize } = require('./state-walk')

const { freeze, isExtensible, keys: keysOf } = Object

/** The clock is read after this many entries. */
const STRIDE = 256

const NOTHING = freeze(Object.create(null))
const NO_ITEMS = freeze([])

/** Growing a larger `Set` takes longer than a slice. */
const SET_SIZE_MAX = 32 * 1024

/** A set of objects that never blocks for long. */
class Seen {
  #full = []
  #last = new Set()

  /** Returns whether the object is new. */
  add(object) {
    if (this.#last.has(object) || this.#full.some(set => set.has(object))) return false
    if (this.#last.size === SET_SIZE_MAX) {
      this.#full.push(this.#last)
      this.#last = new Set()
    }
    this.#last.add(object)
    return true
  }
}

/** An array or object whose entries are compared. It is used again. */
class Frame {
  value = null
  former = null
  /** Of an object; null for an array. */
  keys = null
  next = 0
}

class StateFreezer {
  #frames = []
  #depth = 0
  #left = STRIDE
  /** The visited objects that were already frozen: a state that is not JSON may contain itself. */
  #seen
  #value
  #former
  #hasBegun = false

  /** @param former a state whose parts are frozen already; undefined if there is none. */
  constructor(value, former, isJson) {
    this.#value = value
    this.#former = former
    this.#seen = isJson ? null : new Seen()
  }

  /** Continues until it is complete, or until the time. Returns whether it is complete. */
  run(end) {
    if (!this.#hasBegun) {
      this.#hasBegun = true
      this.#tryVisit(this.#value, this.#former)
    }
    while (this.#depth > 0) if (this.#continue(this.#frames[this.#depth - 1], end)) return false
    return true
  }

  /** Returns whether the time is over. Otherwise the frame is complete, or another one is on top of it. */
  #continue(frame, end) {
    const { value, former, keys } = frame
    const length = keys === null ? value.length : keys.length
    while (frame.next < length) {
      if (--this.#left === 0) {
        this.#left = STRIDE
        if (now() >= end) return true
      }
      const key = keys === null ? frame.next : keys[frame.next]
      frame.next++
      if (this.#tryVisitEntry(value, former, key)) return false
    }
    frame.value = frame.former = frame.keys = null
    this.#depth--
    return false
  }

  /** As below. An accessor may throw: such a part stays as it is. */
  #tryVisitEntry(value, former, key) {
    try {
      const entry = value[key]
      if (typeof entry !== 'object' || entry === null) return false
      const formerEntry = former[key]
      return entry !== formerEntry && this.#visit(entry, formerEntry)
    } catch {
      return false
    }
  }

  #tryVisit(value, former) {
    try {
      if (typeof value === 'object' && value !== null) this.#visit(value, former)
    } catch {
      // As above.
    }
  }

  /** Returns whether there is a new frame for the value. */
  #visit(value, former) {
    if (this.#depth === DEPTH_MAX) return false
    const isArray = Array.isArray(value)
    if (!(isArray ? isOrdinaryArray(value) : isOrdinaryObject(value))) return false
    if (isExtensible(value)) freeze(value)
    else if (this.#seen !== null && !this.#seen.add(value)) return false
    const isLike = typeof former === 'object' && former !== null && Array.isArray(former) === isArray
    const keys = isArray ? null : keysOf(value)
    if (!isArray) noteSize(value, keys.length)
    const frame = (this.#frames[this.#depth++] ??= new Frame())
    frame.value = value
    frame.former = isLike ? former : isArray ? NO_ITEMS : NOTHING
    frame.keys = keys
    frame.next = 0
    return true
  }
}

module.exports = { StateFreezer }
