// Keeps the listeners of `node.subscribe` and calls them.

'use strict'

const errors = require('./errors')

class Subscribers {
  /** No listener is called from here on, not even the rest of those being called now. */
  isSilent = false
  /** The same function may be registered several times. */
  #registrations = new Set()
  /** Counts the notifications. A listener that is added in one is first called in the next. */
  #round = 0

  /** @returns `unsubscribe`, which ends this registration and no other of the same function. */
  add(listener) {
    if (typeof listener !== 'function') throw errors.invalidArgument('`subscribe` takes a function')
    const registration = { listener, round: this.#round }
    const unsubscribe = () => void this.#registrations.delete(registration)
    this.#registrations.add(registration)
    return unsubscribe
  }

  /** Calls each with `{ action, index, at }`; what one throws stops neither the others nor the node. */
  notify(index, action, at) {
    const round = ++this.#round
    if (this.#registrations.size === 0) return
    const commit = { action, index, at }
    for (const registration of this.#registrations) {
      if (this.isSilent) return
      if (registration.round >= round) continue
      const { listener } = registration
      try {
        listener(commit)
      } catch (error) {
        errors.surface(error)
      }
    }
  }

  /** Releases the listeners and what they refer to. */
  clear() {
    this.#registrations.clear()
  }
}

module.exports = { Subscribers }
