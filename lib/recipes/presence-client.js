// Enters names and lists those that are present: `presence.client(node, key)`.
//
// Called by recipes.js.

'use strict'

const checks = require('./checks')
const { Mount } = require('./mount')
const { presence } = require('./presence')
const { Entries } = require('./sessions')

/** @returns a client of the presence that is mounted under this key. */
function client(node, key) {
  return new Presence(new Mount(node, key, presence()))
}

class Presence {
  #mount
  #entries

  constructor(mount) {
    this.#mount = mount
    this.#entries = new Entries(mount, { what: 'an entry', make: 'enter', remove: 'leave' })
  }

  /** This node has an entry of this name until it leaves, or its session ends. Entering again replaces the data. */
  async enter(name, data = null, options) {
    await this.#entries.make(name, data, options)
  }

  /** Resolves with whether this node had entered this name. */
  async leave(name, options) {
    return await this.#entries.remove(name, options)
  }

  /** All `{ name, data, id, session }` on this node, sorted by name, then by session. */
  list() {
    return listOf(this.#mount.state)
  }

  /** Those of one name. */
  get(name) {
    checks.name('an entry', name)
    return this.list().filter(entry => entry.name === name)
  }

  /** Calls the listener with the list when it has changed on this node. */
  watch(listener, options) {
    const { node, key } = this.#mount
    return node.watch(
      state => state[key]?.sessions,
      () => listener(this.list()),
      options
    )
  }
}

function listOf({ sessions }) {
  const list = Object.entries(sessions).flatMap(([session, { id, entries }]) =>
    Object.entries(entries).map(([name, data]) => ({ name, data, id, session: Number(session) }))
  )
  return list.sort((a, b) => (a.name === b.name ? a.session - b.session : a.name < b.name ? -1 : 1))
}

module.exports = { client }
