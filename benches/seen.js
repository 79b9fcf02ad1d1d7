/**
 * Counts numbered things exactly once: cheap while they come in order, right when they do not.
 *
 * Used in the measured processes, so that checking the ledger costs less than what is measured.
 */
'use strict'

class Seen {
  #next = 1
  #beyond = new Set()
  doubled = 0

  add(number) {
    if (this.has(number)) this.doubled++
    else if (number === this.#next) {
      this.#next++
      while (this.#beyond.delete(this.#next)) this.#next++
    } else this.#beyond.add(number)
  }

  has(number) {
    return number < this.#next || this.#beyond.has(number)
  }

  get count() {
    return this.#next - 1 + this.#beyond.size
  }

  /** How many of `others` are not here. */
  lacks(others) {
    let lacking = 0
    for (let number = this.#next; number < others.#next; number++) if (!this.has(number)) lacking++
    for (const number of others.#beyond) if (!this.has(number)) lacking++
    return lacking
  }

  toJSON() {
    return { next: this.#next, beyond: [...this.#beyond], doubled: this.doubled }
  }

  static from({ next, beyond, doubled }) {
    const seen = new Seen()
    seen.#next = next
    seen.#beyond = new Set(beyond)
    seen.doubled = doubled
    return seen
  }
}

module.exports = { Seen }
