// Builds a state from the pieces of its text, in slices, and freezes it.
//
// Used by snapshot.js. The pieces are those of src/js/state_pieces.rs: flat arrays of steps, each a number and its
// argument.

'use strict'

const { now } = require('./environment')
const { adoptDecoded, freezeDecoded } = require('./state-walk')

const VALUE = 0
const ITEMS = 1
const MEMBERS = 2
const OPEN_OBJECT = 3
const OPEN_ARRAY = 4
const CLOSE = 5
const END = 6

/** Of a step, beside its argument: `[` or `,`, its kind, and `,`. */
const STEP_CHARACTERS = 3

class StateBuilder {
  /** The state, once it is complete. */
  value = undefined
  /** About the length of its text. */
  characters = 0
  #next
  #freezes
  /** The arrays and objects that are open, and the keys under which they will stand in those around them. */
  #open = []
  #keys = []

  /**
   * @param next gives the next piece; null where there is no text.
   * @param freezes whether every part is to be frozen.
   */
  constructor(next, freezes) {
    this.#next = next
    this.#freezes = freezes
  }

  /** Continues until the state is complete or until the time. Returns whether it is complete. Throws if it is not JSON. */
  run(end) {
    for (;;) {
      const text = this.#next()
      if (text === null) throw new Error('it is not text')
      const steps = JSON.parse(text)
      this.characters += text.length - 1 - STEP_CHARACTERS * (steps.length / 2)
      for (let i = 0; i < steps.length; i += 2) {
        if (this.#take(steps[i], steps[i + 1])) {
          this.characters--
          return true
        }
      }
      if (now() >= end) return false
    }
  }

  /** Returns whether this was the last step. */
  #take(step, argument) {
    const innermost = this.#open[this.#open.length - 1]
    switch (step) {
      case VALUE:
        if (this.#freezes) freezeDecoded(argument, 0)
        this.value = argument
        return false
      case ITEMS:
        for (const item of argument) innermost.push(this.#frozen(item))
        return false
      case MEMBERS:
        for (const key of Object.keys(argument)) set(innermost, key, this.#frozen(argument[key]))
        return false
      case OPEN_OBJECT:
        this.#open.push({})
        this.#keys.push(argument)
        return false
      case OPEN_ARRAY:
        this.#open.push([])
        this.#keys.push(argument)
        return false
      case CLOSE:
        this.#close()
        return false
      case END:
        return true
      default:
        throw new Error(`no step of a state: ${step}`)
    }
  }

  #frozen(value) {
    if (this.#freezes) freezeDecoded(value, this.#open.length)
    return value
  }

  #close() {
    const value = this.#open.pop()
    const key = this.#keys.pop()
    if (this.#freezes) adoptDecoded(value)
    const around = this.#open[this.#open.length - 1]
    if (around === undefined) this.value = value
    else if (key === null) around.push(value)
    else set(around, key, value)
  }
}

/** As `JSON.parse` does. */
function set(object, key, value) {
  if (key !== '__proto__') object[key] = value
  else Object.defineProperty(object, key, { value, enumerable: true, writable: true, configurable: true })
}

module.exports = { StateBuilder }
