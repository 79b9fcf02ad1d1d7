// This file keeps the functions given to `node.subscribe` and calls them.

'use strict'

const errors = require('./errors')

class Subscribers {
  /** Replaced, never changed: a listener may subscribe and unsubscribe while they are called. */
  #registrations = []

  /** @returns `unsubscribe`, which ends this registration and no other of the same function. */
  add(listener) {
    if (typeof listener !== 'function') throw errors.invalidArgument('`subscribe` takes a function')
    const registration = { listener, isActive: true }
    this.#registrations = [...this.#registrations, registration]
    return () => {
      registration.isActive = false
      this.#registrations = this.#registrations.filter(other => other !== registration)
    }
  }

  /** Calls each; what one throws stops neither the others nor the node. */
  notify() {
    for (const registration of this.#registrations) {
      if (!registration.isActive) continue
      const { listener } = registration
      try {
        listener()
      } catch (error) {
        errors.surface(error)
      }
    }
  }

  /** None is called from here on, not even the rest of those being called now. */
  clear() {
    for (const registration of this.#registrations) registration.isActive = false
    this.#registrations = []
  }
}

module.exports = { Subscribers }
