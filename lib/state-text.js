// Encodes a value as JSON, in slices, and finds the part of it that does not survive JSON.
//
// Used by snapshot.js. Parts below a limit, and a whole value below a higher one, are encoded at once by `JSON.stringify`;
// larger arrays and objects are opened, so that neither the event loop nor the longest string of JavaScript matters. A
// string of any length is cut, too.

'use strict'

const { now } = require('./environment')
const errors = require('./errors')
const {
  DEPTH_MAX,
  Fault,
  becomes,
  cut,
  describe,
  findFault,
  isOrdinaryArray,
  isOrdinaryObject,
  nameOf
} = require('./json-faults')

/** A value of about this many characters is encoded at once, which takes some milliseconds. */
const WHOLE_LENGTH = 256 * 1024
/** The approximate length of the parts of a longer value that are encoded at once. */
const PART_LENGTH = 64 * 1024
/** The approximate number of characters that are handed over at once. */
const PIECE_LENGTH = 256 * 1024

const LARGE = Symbol('large')

/** How much longer the part may be that is being measured. A variable is several times quicker than a field. */
let left = 0

/** An array, object or long string that is open. */
class Frame {
  /** @param keys of an object, else null. */
  constructor(value, keys) {
    this.value = value
    this.keys = keys
    this.next = 0
    this.isEmpty = true
  }

  get name() {
    return this.keys === null ? `[${this.next}]` : nameOf(this.keys[this.next])
  }
}

class StateText {
  /** Why there is no text, or null. */
  why = null
  /** Whether a part of the value is the cause. */
  isFault = false
  #value
  #path
  #emit
  #frames = []
  #piece = ''
  #hasBegun = false

  /**
   * @param path how the value is called in `why`.
   * @param emit called with each piece of the text.
   */
  constructor(value, path, emit) {
    this.#value = value
    this.#path = path
    this.#emit = emit
  }

  /** Continues until the text is complete, or there is none, or until the time. Returns whether it is complete. */
  run(end) {
    try {
      if (!this.#hasBegun) this.#begin()
      while (this.#frames.length > 0) {
        this.#continue()
        if (this.#frames.length > 0 && now() >= end) return false
      }
      this.#flush()
    } catch (error) {
      this.#fail(error)
    }
    return true
  }

  #begin() {
    this.#hasBegun = true
    if (this.#fits(this.#value, WHOLE_LENGTH)) this.#write(JSON.stringify(this.#value))
    else this.#open(this.#value)
  }

  #fail(error) {
    if (!(error instanceof Fault)) {
      this.why = errors.messageOf(error)
    } else {
      for (let i = this.#frames.length - 1; i >= 0; i--) error.below(this.#frames[i].name)
      // A value that contains itself is found by remembering the path.
      const fault = error.isTooDeep ? (findFault(this.#value, 0, new Set()) ?? error) : error
      this.isFault = true
      this.why = `${cut(this.#path + fault.path)} ${fault.why}`
    }
    this.#frames.length = 0
    this.#piece = ''
  }

  #write(text) {
    this.#piece += text
    if (this.#piece.length >= PIECE_LENGTH) this.#flush()
  }

  #flush() {
    if (this.#piece === '') return
    this.#emit(this.#piece)
    this.#piece = ''
  }

  /** Begins with a large value. What is large and no string is an array or object. */
  #open(value) {
    if (typeof value === 'string') {
      this.#write('"')
      this.#frames.push(new Frame(value, null))
      return
    }
    const isArray = Array.isArray(value)
    this.#write(isArray ? '[' : '{')
    this.#frames.push(new Frame(value, isArray ? null : Object.keys(value)))
  }

  #continue() {
    const frame = this.#frames[this.#frames.length - 1]
    if (typeof frame.value === 'string') this.#continueString(frame)
    else if (frame.keys === null) this.#continueArray(frame)
    else this.#continueObject(frame)
  }

  #close(text) {
    this.#write(text)
    this.#frames.pop()
    const around = this.#frames[this.#frames.length - 1]
    if (around !== undefined) around.next++
  }

  #continueString(frame) {
    const { value } = frame
    let until = Math.min(frame.next + PART_LENGTH, value.length)
    // The two halves of a character stay together.
    if (until < value.length && (value.charCodeAt(until - 1) & 0xfc00) === 0xd800) until++
    this.#write(JSON.stringify(value.slice(frame.next, until)).slice(1, -1))
    frame.next = until
    if (until === value.length) this.#close('"')
  }

  #continueArray(frame) {
    const { value, next } = frame
    // Frozen arrays have no fast `slice`.
    const part = []
    let i = next
    left = PART_LENGTH
    for (; i < value.length && left > 0; i++) {
      frame.next = i
      const item = value[i]
      if (!this.#fits(item, left)) break
      part.push(item)
    }
    frame.next = i
    if (i > next) {
      this.#writeMembers(frame, JSON.stringify(part))
    } else if (i < value.length) {
      this.#separate(frame)
      this.#open(value[i])
    } else {
      this.#close(']')
    }
  }

  #continueObject(frame) {
    const { value, keys, next } = frame
    // Without a prototype `__proto__` is a key as any other.
    const part = Object.create(null)
    let i = next
    left = PART_LENGTH
    for (; i < keys.length && left > 0; i++) {
      frame.next = i
      const key = keys[i]
      const member = value[key]
      if (member === undefined) continue
      if (!this.#fits(member, left)) break
      left -= key.length + 3
      part[key] = member
    }
    frame.next = i
    if (i > next) {
      this.#writeMembers(frame, JSON.stringify(part))
    } else if (i < keys.length) {
      this.#separate(frame)
      this.#write(`${JSON.stringify(keys[i])}:`)
      this.#open(value[keys[i]])
    } else {
      this.#close('}')
    }
  }

  #writeMembers(frame, text) {
    if (text.length === 2) return
    this.#separate(frame)
    this.#write(text.slice(1, -1))
  }

  #separate(frame) {
    if (!frame.isEmpty) this.#write(',')
    frame.isEmpty = false
  }

  /** Whether the text of a value is about this long at most; then `left` is what is left. Throws a fault. */
  #fits(value, length) {
    left = length
    const fault = measure(value, this.#frames.length)
    if (fault === LARGE) return false
    if (fault !== null) throw fault
    return true
  }
}

/** A fault, or `LARGE`, or null. */
function measure(value, depth) {
  switch (typeof value) {
    case 'string':
      left -= value.length + 3
      break
    case 'number':
      left -= 8
      if (!Number.isFinite(value)) return findFault(value, depth, null)
      break
    case 'boolean':
      left -= 6
      break
    case 'object':
      if (value !== null) return measureObject(value, depth)
      left -= 5
      break
    default:
      return findFault(value, depth, null)
  }
  return left < 0 ? LARGE : null
}

function measureObject(value, depth) {
  if (depth === DEPTH_MAX) return tooDeep()
  left -= 3
  if (Array.isArray(value)) {
    if (!isOrdinaryArray(value)) return new Fault(becomes(value, 'an ordinary array'))
    for (let i = 0; i < value.length; i++) {
      const fault = measure(value[i], depth + 1)
      if (fault !== null) return fault === LARGE ? LARGE : fault.below(`[${i}]`)
    }
    return null
  }
  if (!isOrdinaryObject(value)) return new Fault(describe(value))
  const symbols = Object.getOwnPropertySymbols(value)
  if (symbols.length > 0) return new Fault(`has the key ${String(symbols[0])}, which JSON leaves out`)
  for (const key of Object.keys(value)) {
    const member = value[key]
    if (member === undefined) continue
    left -= key.length + 3
    const fault = measure(member, depth + 1)
    if (fault !== null) return fault === LARGE ? LARGE : fault.below(nameOf(key))
  }
  return null
}

function tooDeep() {
  const fault = new Fault(`nests deeper than ${DEPTH_MAX} levels`)
  fault.isTooDeep = true
  return fault
}

module.exports = { StateText }
