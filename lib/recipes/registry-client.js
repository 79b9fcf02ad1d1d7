// Announces what this node serves, and finds the node for a key: `registry.client(node, key)`.
//
// Called by recipes.js. The owner of a key is found by rendezvous hashing (Thaler and Ravishankar 1998): each node has a
// score for the key, and the highest wins. So a node that comes or goes moves only the keys that it gets or had.

'use strict'

const checks = require('./checks')
const { hash, score } = require('./hash')
const { Mount } = require('./mount')
const { registry } = require('./registry')
const { Entries } = require('./sessions')

const { hasOwn } = Object

/** @returns a client of the registry that is mounted under this key. */
function client(node, key) {
  return new Registry(new Mount(node, key, registry()))
}

class Registry {
  #mount
  #entries
  #id

  constructor(mount) {
    this.#mount = mount
    this.#id = mount.node.status().id
    this.#entries = new Entries(mount, { what: 'a service', make: 'serve', remove: 'withdraw' })
  }

  /** This node serves the service until it withdraws, or its session ends. Serving again replaces the data. */
  async serve(service, data = null, options) {
    await this.#entries.make(service, data, options)
  }

  /** Resolves with whether this node served it. */
  async withdraw(service, options) {
    return await this.#entries.remove(service, options)
  }

  /** The nodes that serve it, `{ id, session, data }`, sorted by id; without a service, all nodes with a live session. */
  nodes(service) {
    const { live, services } = this.#mount.state
    if (service === undefined)
      return sorted(Object.entries(live).map(([session, id]) => ({ id, session: Number(session) })))
    checks.name('a service', service)
    const servers = hasOwn(services, service) ? services[service] : {}
    return sorted(
      Object.entries(servers).map(([session, data]) => ({
        id: live[session],
        session: Number(session),
        data
      }))
    )
  }

  /** The one of `nodes(service)` to which the key belongs, or null if there is none. */
  owner(key, service) {
    checks.name('a key', key)
    const keyHash = hash(key)
    let owner = null
    let highest = -1
    for (const node of this.nodes(service)) {
      const own = score(hash(node.id), keyHash)
      if (own > highest) [owner, highest] = [node, own]
    }
    return owner
  }

  /** Whether the key belongs to this node. */
  owns(key, service) {
    return this.owner(key, service)?.id === this.#id
  }

  /** Calls the listener with `nodes(service)` when they have changed on this node. */
  watch(service, listener, options) {
    if (service !== undefined) checks.name('a service', service)
    const { node, key } = this.#mount
    return node.watch(
      state => (service === undefined ? state[key]?.live : state[key]?.services[service]),
      () => listener(this.nodes(service)),
      options
    )
  }
}

function sorted(nodes) {
  return nodes.sort((a, b) => (a.id === b.id ? a.session - b.session : a.id < b.id ? -1 : 1))
}

module.exports = { client }
