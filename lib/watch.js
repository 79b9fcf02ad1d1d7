// Shows a state through proxies that detect every attempt to change it, with the path.
//
// Called by state-check.js. An assignment or a `delete` of sloppy-mode code on a frozen object fails silently; a
// proxy's trap throws in both modes. Parts that are not read cost nothing.
//
// A trap never changes the state. No proxy stays in a state: state-check.js replaces them by what they stand for.

'use strict'

const { isOrdinaryArray, isOrdinaryObject, nameOf } = require('./json-faults')

const { hasOwn } = Object

/** The target of each proxy. */
const targets = new WeakMap()

/** Thrown out of a probe that would read too much. */
const ENOUGH = new Error('a probe of the state reads too much')

class Watch {
  /** The first attempt to change the state: `{ path, object, isArray, key, action }`, or null. */
  change = null
  /** A part was too large to be watched, and was shown unwatched. */
  hasSkipped = false
  #isLarge
  #showsLarge
  #readsLeft
  #proxies = new Map()

  /**
   * @param isLarge whether a container is too large to be copied.
   * @param readsMax after this many the watch throws; without it, what is large is handed out as it is.
   */
  constructor(isLarge, readsMax = undefined) {
    this.#isLarge = isLarge
    this.#showsLarge = readsMax !== undefined
    this.#readsLeft = readsMax ?? Infinity
  }

  /** Returns a proxy for a part of the state; primitive values and objects that are not plain are shown unwatched. */
  show(value, parent = null, key = null) {
    if (typeof value !== 'object' || value === null) return value
    const known = this.#proxies.get(value)
    if (known !== undefined) return known
    const isArray = Array.isArray(value)
    if (isArray ? !isOrdinaryArray(value) : !isOrdinaryObject(value)) return value
    let proxy
    if (!this.#isLarge(value)) proxy = this.#showCopy(value, isArray, parent, key)
    else if (this.#showsLarge) proxy = new Proxy(isArray ? [] : {}, new LargePart(this, value, parent, key))
    else {
      this.hasSkipped = true
      return value
    }
    this.#proxies.set(value, proxy)
    targets.set(proxy, value)
    return proxy
  }

  /** The target is a copy: a proxy of a frozen target must return the target's own values. */
  #showCopy(value, isArray, parent, key) {
    // Frozen arrays have no fast `slice`.
    const copy = isArray ? [...value] : { ...value }
    const values = isArray ? value : Object.values(value)
    this.count(values.length)
    const isFlat = values.every(isPrimitive)
    return new Proxy(
      copy,
      isFlat ? new FlatPart(this, value, parent, key) : new Part(this, value, parent, key)
    )
  }

  count(reads) {
    this.#readsLeft -= reads
    if (this.#readsLeft < 0) throw ENOUGH
  }

  /** The target of a proxy of this module; undefined for other values. */
  targetOf(value) {
    return targets.get(value)
  }
}

const isPrimitive = value => typeof value !== 'object' || value === null

/** The traps of a container that holds no other. Whatever reads has no trap, and so the speed of the copy. */
class FlatPart {
  watch
  target
  #parent
  #key

  constructor(watch, target, parent, key) {
    this.watch = watch
    this.target = target
    this.#parent = parent
    this.#key = key
  }

  set(_, key) {
    throw this.#report('assigned', key)
  }

  defineProperty(_, key) {
    throw this.#report('defined', key)
  }

  deleteProperty(_, key) {
    // Also in strict mode, deleting what is not there does nothing.
    if (!hasOwn(this.target, key)) return true
    throw this.#report('deleted', key)
  }

  setPrototypeOf() {
    throw this.#report('given another prototype', null)
  }

  /** Freezing a frozen object changes nothing, but a proxy cannot do it. */
  preventExtensions() {
    throw new TypeError('a watched state cannot be frozen')
  }

  #report(action, key) {
    const object = this.path()
    const path = key === null ? object : object + this.nameOf(key)
    this.watch.change ??= { path, object, isArray: Array.isArray(this.target), key, action }
    return new TypeError(`\`${path}\` must not be ${action}: the state is read only`)
  }

  path() {
    return this.#parent === null ? 'state' : this.#parent.path() + this.#parent.nameOf(this.#key)
  }

  nameOf(key) {
    if (typeof key === 'symbol') return `[${String(key)}]`
    return Array.isArray(this.target) && /^\d+$/.test(key) ? `[${key}]` : nameOf(key)
  }
}

/** What it holds is shown by proxies, too. A descriptor holds the real value, which is never written to. */
class Part extends FlatPart {
  get(copy, key) {
    const value = copy[key]
    return isPrimitive(value) || !hasOwn(copy, key) ? value : this.watch.show(value, this, key)
  }
}

/** The target stays empty: a copy would cost more than the reads that follow. */
class LargePart extends FlatPart {
  get(_, key) {
    this.watch.count(1)
    const value = this.target[key]
    return isPrimitive(value) || !hasOwn(this.target, key) ? value : this.watch.show(value, this, key)
  }

  has(_, key) {
    this.watch.count(1)
    return key in this.target
  }

  ownKeys() {
    return Reflect.ownKeys(this.target)
  }

  getOwnPropertyDescriptor(_, key) {
    this.watch.count(1)
    if (!hasOwn(this.target, key)) return undefined
    const value = this.watch.show(this.target[key], this, key)
    const isLength = key === 'length' && Array.isArray(this.target)
    return { value, writable: true, enumerable: !isLength, configurable: !isLength }
  }
}

module.exports = { Watch }
