// Hashes a state: two states have the same hash if they are equal as JSON, in whatever order their keys were set.
//
// Called by state-comparison.js. Every node of a version must give the same hash for equal states, whether it reduced or
// restored them.
//
// A state is immutable, so what was hashed once is not hashed again. The hash of an array or object is built of a *sum*
// over its members, each mixed with its key or index: the order of keys does not matter, and a changed member is
// subtracted and added. Large parts keep their sums (`parts`), and a new version of one is compared with the former
// version, member by member. A pass can stop anywhere and continue later, because nothing recurses.

'use strict'

const { now } = require('./environment')
const { DEPTH_MAX, isOrdinaryArray, isOrdinaryObject } = require('./json-faults')

const { hasOwn, isExtensible, keys: keysOf } = Object
const { imul } = Math

/**
 * The sums of parts from this weight on are kept, which is about the length of their text. With smaller parts the map of
 * a large state would have so many entries that its growth blocks.
 */
const KEPT_WEIGHT_MIN = 16 * 1024

/** The clock is read after about this many members. */
const STRIDE = 512
/** A string counts as one member for this many characters, and a longer one is hashed in pieces of this length. */
const CHARACTERS_PER_MEMBER = 16
const PIECE_LENGTH = 32 * 1024

/** Constants that distinguish the kinds of values. */
const NULL = 0x3c6ef372
const TRUE = 0x510e527f
const FALSE = 0x1f83d9ab
const NUMBER = 0x5be0cd19
const STRING = 0x2545f491
const ARRAY = 0x27d4eb2f
const OBJECT = 0x165667b1

const NOTHING = Object.freeze(Object.create(null))
const NO_ITEMS = Object.freeze([])

/** Thrown where a value is not JSON. */
const NOT_JSON = new Error('not JSON')

/** The last result: two numbers of 32 bits, and the weight of what was hashed. */
let first = 0
let second = 0
let weight = 0

const float = new Float64Array(1)
const words = new Uint32Array(float.buffer)

/** Every bit of the result depends on every bit of the four numbers. */
function mix(a, b, c, d) {
  a = imul(a ^ (a >>> 15) ^ c, 0x85ebca6b)
  b = imul(b ^ (b >>> 13) ^ d, 0xc2b2ae35)
  a = imul(a ^ (b >>> 16), 0x9e3779b1)
  b = imul(b ^ (a >>> 14), 0x85ebca77)
  a = imul(a ^ (b >>> 13), 0xc2b2ae3d)
  b ^= a >>> 16
  first = a ^ (a >>> 16)
  second = imul(b ^ (b >>> 15), 0x27d4eb2d)
}

function hashNumber(value) {
  // JSON makes 0 of -0.
  float[0] = value + 0
  if (value === 0) float[0] = 0
  mix(words[0], words[1], NUMBER, NUMBER)
  weight = 8
}

/** Continues the two numbers with a part of the string. */
function hashCharacters(text, from, until, a, b) {
  for (let i = from; i < until; i++) {
    const code = text.charCodeAt(i)
    a = imul(a ^ code, 0x9e3779b1)
    b = imul(b ^ code, 0x5f356495)
  }
  first = a
  second = b
}

function hashString(text) {
  const { length } = text
  hashCharacters(text, 0, length, STRING ^ length, STRING + length)
  mix(first, second, STRING, length)
  weight = length + 2
}

/** Returns false if the value is none of these, or too long to be hashed at once. */
function hashScalar(value) {
  switch (typeof value) {
    case 'string':
      if (value.length > PIECE_LENGTH) return false
      hashString(value)
      return true
    case 'number':
      if (!Number.isFinite(value)) return false
      hashNumber(value)
      return true
    case 'boolean':
      mix(value ? TRUE : FALSE, 0, 0, 0)
      weight = 5
      return true
    default:
      if (value !== null) return false
      mix(NULL, 0, 0, 0)
      weight = 4
      return true
  }
}

/** The sums of an array or object that are kept. `members` counts those that JSON keeps. */
class Part {
  constructor({ sumA, sumB, weight, members }) {
    this.sumA = sumA
    this.sumB = sumB
    this.weight = weight
    this.members = members
  }
}

/** An array, an object or a long string, as far as it is hashed. */
class Frame {
  value = null
  /** The former version, whose sums this one begins with. */
  former = null
  /** Of an object; null for an array. */
  keys = null
  next = 0
  length = 0
  sumA = 0
  sumB = 0
  weight = 0
  members = 0
  /** The number of members of the former version that are also here. */
  common = 0
  formerMembers = 0
  /** The members that only the former version has are subtracted now. */
  isRemoving = false
  /** The member of the former version at `next` is already subtracted. */
  isSubtracted = false
  /** For the frame around it: 1 if this is added, -1 if it is subtracted. */
  sign = 1
}

/** One pass over one state. */
class Pass {
  /** 32 hexadecimal digits, or null if the state is not JSON. Undefined before the pass is complete. */
  result = undefined
  #parts
  #keepsAll
  #frames = []
  #depth = -1
  #left = STRIDE
  #end = Infinity

  /**
   * @param parts the kept parts; null if nothing is to be kept.
   * @param keepsAll all parts are immutable; otherwise only those that are frozen.
   * @param former the state that was hashed last, or undefined.
   */
  constructor(parts, keepsAll, value, former) {
    this.#parts = parts
    this.#keepsAll = keepsAll
    this.#begin(value, former)
  }

  #begin(value, former) {
    try {
      if (this.#hash(value, former, 1)) this.#finish()
    } catch {
      // An accessor may throw anything.
      this.result = null
    }
  }

  /** Continues until it is complete, or until the time. Returns whether it is complete. */
  run(end) {
    this.#end = end
    this.#left = STRIDE
    try {
      while (this.result === undefined && this.#continue());
    } catch {
      this.result = null
    }
    return this.result !== undefined
  }

  #finish() {
    const [a, b, c] = [first, second, weight]
    const digits = [a, b]
    mix(a, b, c, ~c)
    digits.push(first, second)
    this.result = digits.map(number => (number >>> 0).toString(16).padStart(8, '0')).join('')
  }

  /** Whether there is time left. */
  #mayContinue() {
    this.#left = STRIDE
    return now() < this.#end
  }

  /** The value's hash is the last result; or there is a new frame for it, and false is returned. */
  #hash(value, former, sign) {
    if (hashScalar(value)) return true
    if (typeof value === 'string') {
      this.#pushString(value, sign)
      return false
    }
    if (typeof value !== 'object') throw NOT_JSON
    const part = this.#parts?.get(value)
    if (part !== undefined) {
      finishPart(part, Array.isArray(value))
      return true
    }
    this.#push(value, former, sign)
    return false
  }

  #frame(value, sign) {
    if (++this.#depth > DEPTH_MAX) throw NOT_JSON
    const frame = (this.#frames[this.#depth] ??= new Frame())
    frame.value = value
    frame.sign = sign
    frame.next = frame.members = frame.common = frame.formerMembers = 0
    frame.isRemoving = frame.isSubtracted = false
    return frame
  }

  #pushString(value, sign) {
    const { length } = value
    const frame = this.#frame(value, sign)
    frame.length = length
    frame.sumA = STRING ^ length
    frame.sumB = STRING + length
  }

  #push(value, former, sign) {
    const isArray = Array.isArray(value)
    if (!(isArray ? isOrdinaryArray(value) : isOrdinaryObject(value))) throw NOT_JSON
    const isLike = typeof former === 'object' && former !== null && Array.isArray(former) === isArray
    const part = isLike && this.#parts !== null ? this.#parts.get(former) : undefined
    const frame = this.#frame(value, sign)
    frame.keys = isArray ? null : keysOf(value)
    if (part === undefined) {
      frame.former = isArray ? NO_ITEMS : NOTHING
      frame.sumA = frame.sumB = 0
      frame.weight = 2
    } else {
      frame.former = former
      frame.sumA = part.sumA
      frame.sumB = part.sumB
      frame.weight = part.weight
      frame.members = frame.formerMembers = part.members
    }
    frame.length = isArray ? Math.max(value.length, frame.former.length) : frame.keys.length
  }

  /** Works on the innermost frame. Returns false if the time is over. */
  #continue() {
    const frame = this.#frames[this.#depth]
    const { value } = frame
    if (typeof value === 'string') return this.#continueString(frame, value)
    return frame.keys === null ? this.#continueArray(frame, value) : this.#continueObject(frame, value)
  }

  #continueString(frame, text) {
    const until = Math.min(frame.next + PIECE_LENGTH, text.length)
    hashCharacters(text, frame.next, until, frame.sumA, frame.sumB)
    frame.next = until
    if (until < text.length) {
      frame.sumA = first
      frame.sumB = second
      this.#left -= PIECE_LENGTH / CHARACTERS_PER_MEMBER
      return this.#left > 0 || this.#mayContinue()
    }
    mix(first, second, STRING, text.length)
    weight = text.length + 2
    this.#pop(frame)
    return true
  }

  #continueArray(frame, array) {
    const { former, length } = frame
    for (let i = frame.next; i < length; frame.next = ++i) {
      if (--this.#left <= 0 && !this.#mayContinue()) return false
      const item = i < array.length ? array[i] : undefined
      if (item === undefined && i < array.length) throw NOT_JSON
      const formerItem = i < former.length ? former[i] : undefined
      if (item === formerItem) continue
      if (!this.#replace(frame, item, formerItem)) return true
    }
    frame.members = array.length
    this.#complete(frame, array, ARRAY)
    return true
  }

  #continueObject(frame, object) {
    const { former } = frame
    if (!frame.isRemoving) {
      const { keys } = frame
      for (let i = frame.next; i < keys.length; frame.next = ++i) {
        if (--this.#left <= 0 && !this.#mayContinue()) return false
        const key = keys[i]
        const member = object[key]
        let formerMember = former[key]
        if (!frame.isSubtracted) {
          if (member === formerMember) {
            // Inherited members are not part of the JSON.
            if (member !== undefined) frame.common++
            continue
          }
          if (formerMember !== undefined && !hasOwn(former, key)) formerMember = undefined
          if (formerMember !== undefined) frame.common++
        }
        if (!this.#replace(frame, member, formerMember)) return true
      }
      if (frame.common === frame.formerMembers) {
        this.#complete(frame, object, OBJECT)
        return true
      }
      frame.isRemoving = true
      frame.keys = keysOf(former)
      frame.next = 0
    }
    const { keys } = frame
    for (let i = frame.next; i < keys.length; frame.next = ++i) {
      if (--this.#left <= 0 && !this.#mayContinue()) return false
      const key = keys[i]
      if (hasOwn(object, key)) continue
      if (!this.#replace(frame, undefined, former[key])) return true
    }
    this.#complete(frame, object, OBJECT)
    return true
  }

  /**
   * Subtracts the former member at `next`, and adds the present one; undefined: there is none. Returns false if one of
   * them got a frame: the member comes again.
   */
  #replace(frame, member, formerMember) {
    if (!frame.isSubtracted && formerMember !== undefined) {
      frame.isSubtracted = true
      if (!this.#hash(formerMember, undefined, -1)) return false
      this.#fold(frame, -1)
    }
    if (member !== undefined) {
      if (!this.#hash(member, formerMember, 1)) return false
      this.#fold(frame, 1)
    }
    frame.isSubtracted = false
    return true
  }

  /** Adds the last result to the sums, mixed with the key or index at `next`; or subtracts it. */
  #fold(frame, sign) {
    const [a, b, memberWeight] = [first, second, weight]
    let keyWeight = 1
    if (frame.keys === null) {
      mix(frame.next, ARRAY, a, b)
    } else {
      const key = frame.keys[frame.next]
      hashString(key)
      keyWeight = weight + 1
      mix(first, second, a, b)
    }
    this.#left -= (memberWeight + keyWeight) / CHARACTERS_PER_MEMBER
    frame.sumA = (frame.sumA + sign * first) | 0
    frame.sumB = (frame.sumB + sign * second) | 0
    frame.weight += sign * (memberWeight + keyWeight)
    if (frame.keys !== null) frame.members += sign
  }

  /** The array or object is complete. */
  #complete(frame, value, kind) {
    const part = new Part(frame)
    if (
      frame.sign === 1 &&
      this.#parts !== null &&
      part.weight >= KEPT_WEIGHT_MIN &&
      (this.#keepsAll || !isExtensible(value))
    ) {
      this.#parts.set(value, part)
    }
    finishPart(part, kind === ARRAY)
    this.#pop(frame)
  }

  /** The frame's hash is the last result: the frame around it takes it. */
  #pop(frame) {
    frame.value = frame.former = frame.keys = null
    if (--this.#depth < 0) {
      this.#finish()
      return
    }
    const around = this.#frames[this.#depth]
    this.#fold(around, frame.sign)
    if (frame.sign === -1) return
    around.isSubtracted = false
    around.next++
  }
}

/** The hash of an array or object, from its sums. */
function finishPart({ sumA, sumB, weight: ownWeight, members }, isArray) {
  mix(sumA, sumB, isArray ? ARRAY : OBJECT, members)
  weight = ownWeight
}

module.exports = { Pass }
