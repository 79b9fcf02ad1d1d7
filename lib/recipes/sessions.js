// What recipes whose entries end with a session have in common.
//
// Used by presence.js, registry.js and invalidation.js, and by their clients.

'use strict'

const errors = require('../errors')

const noop = () => {}

/** The refusal of a call without a session. */
function needsSession(recipe) {
  return errors.core(
    'ERR_CONFLUX_INVALID_ARGUMENT',
    `the recipe \`${recipe}\` needs sessions: open the nodes with the option \`sessions\``
  )
}

/**
 * What a node announces, by name. If its session ended while it lived, everything is announced again in the next one.
 */
class Announcements {
  #mount
  #announce
  #values = new Map()
  #onSession = () => this.#repeat()

  /** @param announce makes the call for one of them: `(name, value)`. */
  constructor(mount, announce) {
    this.#mount = mount
    this.#announce = announce
  }

  /** Resolves when it is announced. */
  async add(name, value, callOptions) {
    if (this.#values.size === 0) this.#mount.node.on('session', this.#onSession)
    const entry = { value }
    this.#values.set(name, entry)
    try {
      await this.#announce(name, value, callOptions)
    } catch (error) {
      // In a session that has ended meanwhile: the next one has its turn, or has had it.
      if (error.code === 'ERR_CONFLUX_SESSION_ENDED') return this.#announce(name, value, callOptions)
      if (this.#values.get(name) === entry) this.remove(name)
      throw error
    }
  }

  remove(name) {
    if (!this.#values.delete(name) || this.#values.size > 0) return
    this.#mount.node.off('session', this.#onSession)
  }

  #repeat() {
    for (const [name, { value }] of this.#values) this.#announce(name, value).catch(noop)
  }
}

module.exports = { Announcements, needsSession }
