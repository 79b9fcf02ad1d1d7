// Gives a reducer or method a copy of a small state, and detects afterwards whether the copy was changed.
//
// Called by state-check.js. An assignment or a `delete` of sloppy-mode code on a frozen object fails silently; on a
// copy it succeeds, and a comparison finds it. For a small state that is several times faster than proxies
// (watch.js).
//
// No copy stays in a state: state-check.js replaces them by what they stand for.

'use strict'

const { isOrdinaryArray, isOrdinaryObject, nameOf } = require('./json-faults')
const { sizeOf } = require('./state-walk')

const { hasOwn, keys } = Object

/** Copying and comparing an array's items is quicker than an object's members. */
const ITEMS_PER_ENTRY = 8

class Copies {
  /** The original of each copy. */
  #originals = new Map()
  #state
  #copy
  #entriesMax
  #entriesLeft

  constructor(state, entriesMax) {
    this.#state = state
    this.#entriesMax = entriesMax
    this.#entriesLeft = entriesMax
    this.#copy = this.#copyOf(state)
  }

  /** Of the whole state. */
  get entries() {
    return this.#entriesMax - this.#entriesLeft
  }

  /** The state has more entries than are to be copied. */
  get isTooLarge() {
    return this.#entriesLeft < 0
  }

  show() {
    return this.#copy
  }

  /** The original of the copy, or undefined if it is not a copy. */
  targetOf(value) {
    return this.#originals.get(value)
  }

  /** The first change: `{ path, object, isArray, key, action }`, or null. */
  get change() {
    const change = this.#find(this.#copy, this.#state)
    return change && { ...change, path: `state${change.path}`, object: `state${change.object}` }
  }

  #copyOf(value) {
    if (typeof value !== 'object' || value === null) return value
    const isArray = Array.isArray(value)
    if (isArray ? !isOrdinaryArray(value) : !isOrdinaryObject(value)) return value
    this.#entriesLeft -= isArray ? 1 + value.length / ITEMS_PER_ENTRY : 1
    // Detects a large object without copying it.
    if (!isArray && sizeOf(value) > this.#entriesLeft) this.#entriesLeft = -1
    if (this.#entriesLeft < 0) return value
    // Frozen arrays have no fast `slice`.
    const copy = isArray ? [...value] : { ...value }
    this.#originals.set(copy, value)
    if (isArray) {
      for (let i = 0; i < copy.length; i++) {
        if (isContainer(copy[i])) copy[i] = this.#copyOf(copy[i])
        if (this.#entriesLeft < 0) break
      }
      return copy
    }
    for (const key in copy) {
      if (--this.#entriesLeft < 0) break
      if (isContainer(copy[key])) copy[key] = this.#copyOf(copy[key])
    }
    return copy
  }

  #find(copy, original) {
    return Array.isArray(original) ? this.#findInItems(copy, original) : this.#findInMembers(copy, original)
  }

  #findInItems(copy, original) {
    for (let i = 0; i < original.length; i++) {
      const change = this.#findAt(copy, original, i)
      if (change !== null) return change
    }
    if (copy.length !== original.length) return changeAt(original, copy.length - 1, 'assigned')
    let count = 0
    for (const key in copy) if (++count > original.length) return changeAt(original, key, 'assigned')
    return null
  }

  #findInMembers(copy, original) {
    let count = 0
    for (const key in original) {
      count++
      const change = this.#findAt(copy, original, key)
      if (change !== null) return change
    }
    let countNow = 0
    for (const _ in copy) countNow++
    if (countNow === count) return null
    return changeAt(
      original,
      keys(copy).find(key => !hasOwn(original, key)),
      'assigned'
    )
  }

  #findAt(copy, original, key) {
    const before = original[key]
    const now = copy[key]
    if (!isContainer(before)) {
      if (now === before && (before !== undefined || hasOwn(copy, key))) return null
      return changeAt(original, key, hasOwn(copy, key) ? 'assigned' : 'deleted')
    }
    // A value that is not plain is not copied.
    if (now === before) return null
    if (this.#originals.get(now) !== before) {
      return changeAt(original, key, hasOwn(copy, key) ? 'assigned' : 'deleted')
    }
    const change = this.#find(now, before)
    return change === null ? null : below(change, original, key)
  }
}

const isContainer = value => typeof value === 'object' && value !== null

function changeAt(container, key, action) {
  const isArray = Array.isArray(container)
  const path = typeof key === 'number' ? `[${key}]` : nameOf(key)
  return { path, object: '', isArray, key, action }
}

function below(change, parent, key) {
  const name = Array.isArray(parent) ? `[${key}]` : nameOf(key)
  return { ...change, path: name + change.path, object: name + change.object }
}

module.exports = { Copies }
