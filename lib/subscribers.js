// Keeps the listeners of `node.subscribe` and calls them.

'use strict'

const { listen, unlisten } = require('./aborts')
const { callOptions } = require('./call-options')
const errors = require('./errors')
const { shown } = require('./kind')

const OPTIONS = ['signal']

const NONE = Object.freeze({})

class Subscribers {
  /** No listener is called from here on, not even the rest of those being called now. */
  isSilent = false
  /** The same function may be registered several times. */
  #registrations = new Set()
  /** Counts the notifications. A listener that is added in one is first called in the next. */
  #round = 0

  /**
   * @param options `{ signal }`, which ends the registration, too. A number counts for nothing, as in 1.x:
   *   `[…].forEach(node.subscribe)`.
   * @returns `unsubscribe`, which ends this registration and no other of the same function.
   */
  add(listener, options) {
    if (typeof listener !== 'function')
      throw errors.invalidArgument(`\`subscribe\` takes a function, got ${shown(listener)}`)
    const { signal } =
      typeof options === 'number' ? NONE : callOptions(options, OPTIONS, errors.invalidArgument)
    const registration = { listener, round: this.#round, aborted: () => unsubscribe() }
    const unsubscribe = () => {
      this.#registrations.delete(registration)
      if (signal !== undefined) unlisten(signal, registration)
    }
    if (signal?.aborted) return unsubscribe
    if (signal !== undefined) listen(signal, registration)
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
    for (const registration of this.#registrations) registration.aborted()
  }
}

module.exports = { Subscribers }
