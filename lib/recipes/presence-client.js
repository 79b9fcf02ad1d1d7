// Enters names and lists those that are present: `presence.client(node, key)`.
//
// Called by recipes.js.

'use strict'

const checks = require('./checks')
const { Mount } = require('./mount')
const { presence } = require('./presence')
const { Announcements } = require('./sessions')

const CALL_OPTIONS = { timeout: checks.milliseconds(0), signal: checks.signal }

/** @returns a client of the presence that is mounted under this key. */
function client(node, key) {
  return new Presence(new Mount(node, key, presence()))
}

class Presence {
  #mount
  #announcements

  constructor(mount) {
    this.#mount = mount
    this.#announcements = new Announcements(mount, (name, data, options) =>
      mount.performInSession('enter', [name, data], options)
    )
  }

  /** This node has an entry of this name until it leaves, or its session ends. Entering again replaces the data. */
  async enter(name, data = null, options) {
    checks.name('an entry', name)
    await this.#announcements.add(name, data, checks.options('enter', options, CALL_OPTIONS))
  }

  /** Resolves with whether this node had entered this name. */
  async leave(name, options) {
    checks.name('an entry', name)
    const callOptions = checks.options('leave', options, CALL_OPTIONS)
    this.#announcements.remove(name)
    return (
      (await this.#mount.performInSession('leave', [name], { ...callOptions, needsSession: false })) !==
      undefined
    )
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
