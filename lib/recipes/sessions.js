// What recipes whose entries end with a session have in common.
//
// Used by presence.js, registry.js and invalidation.js, and by their clients.

'use strict'

const errors = require('../errors')
const checks = require('./checks')

const noop = () => {}

const CALL_OPTIONS = { timeout: checks.milliseconds(0), signal: checks.signal }

/** The refusal of a call of a node without a session. Clients wait for one before they call. */
function needsSession(recipe) {
  return errors.core('ERR_CONFLUX_NO_SESSIONS', `\`${recipe}\`: the calling node has no session`)
}

/**
 * The announcements of a node, by name. If the session of a living node ends, all are made again in the next session.
 */
class Announcements {
  #mount
  #announce
  #values = new Map()
  #stop = noop

  /** @param announce makes the call for one of them: `(name, value)`. */
  constructor(mount, announce) {
    this.#mount = mount
    this.#announce = announce
  }

  /** Resolves when it is announced. */
  async add(name, value, callOptions) {
    if (this.#values.size === 0) this.#stop = this.#mount.onSession(() => this.#repeat())
    // Without a session, the call itself waits for the first one.
    const entry = { value, waits: !this.#mount.hasSession }
    this.#values.set(name, entry)
    try {
      await this.#announce(name, value, callOptions)
    } catch (error) {
      if (this.#values.get(name) === entry) this.remove(name)
      throw error
    }
  }

  remove(name) {
    if (this.#values.delete(name) && this.#values.size === 0) this.#stop()
  }

  #repeat() {
    for (const [name, entry] of this.#values) {
      if (entry.waits) entry.waits = false
      else this.#announce(name, entry.value).catch(noop)
    }
  }
}

/** The entries that a node makes by calls of a recipe, by name: each lasts until it is removed, or the node has ended. */
class Entries {
  #mount
  #what
  #make
  #remove
  #announcements

  /**
   * @param options.what names an entry in messages.
   * @param options.make the method that makes an entry: `(name, data)`.
   * @param options.remove the method that removes one: `(name)`.
   */
  constructor(mount, { what, make, remove }) {
    this.#mount = mount
    this.#what = what
    this.#make = make
    this.#remove = remove
    this.#announcements = new Announcements(mount, (name, data, options) =>
      mount.performInSession(make, [name, data], options)
    )
  }

  async make(name, data, options) {
    checks.name(this.#what, name)
    await this.#announcements.add(name, data, checks.options(this.#make, options, CALL_OPTIONS))
  }

  /** Resolves with whether this node had the entry. */
  async remove(name, options) {
    checks.name(this.#what, name)
    const callOptions = { ...checks.options(this.#remove, options, CALL_OPTIONS), needsSession: false }
    this.#announcements.remove(name)
    return (await this.#mount.performInSession(this.#remove, [name], callOptions)) !== undefined
  }
}

module.exports = { Announcements, Entries, needsSession }
