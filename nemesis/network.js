/**
 * The network of a run: a real redis-server with a replica, and each process's right to publish to each other.
 *
 * Owned by `cluster.js`. Every process logs in as a user of its own, and what that user may publish is changed while it
 * is connected: Redis then drops its frames to some of the others, in one direction, silently.
 */
'use strict'

const fs = require('node:fs')
const path = require('node:path')

const { startRedisServer } = require('../scripts/redis-server')
const { Line } = require('./line')
const { until } = require('./until')

const CHANNEL = 'nemesis'
const TOPIC = `conflux:0:${CHANNEL}`
const PASSWORD = 'nemesis'

const GUESTS_HOST = '127.0.0.1'

/** Every process may receive: only sending is ever forbidden. */
const HEARS_ALL = '(+@all -publish allchannels allkeys)'

class Network {
  /** The primary, and its replica. */
  #servers
  /** By id; for guests there is one without. */
  #lines = new Map()
  /** `${from}>${to}` for every direction that is cut, by ids. */
  #cuts = new Set()
  #ids
  #passwordFile
  #rotations = 0

  static async start(folder, ids) {
    const network = new Network()
    network.#ids = ids
    network.#passwordFile = path.join(folder, 'password')
    fs.writeFileSync(network.#passwordFile, PASSWORD)
    network.#servers = await Promise.all(
      ['primary', 'replica'].map(name => startServer(path.join(folder, `${name}.acl`), ids))
    )
    for (const id of [undefined, ...ids]) {
      const host = id === undefined ? GUESTS_HOST : hostOf(ids.indexOf(id))
      network.#lines.set(id, await Line.start(() => network.redis.port, host))
    }
    await network.demote()
    return network
  }

  /** The primary. */
  get redis() {
    return this.#servers[0]
  }

  /** New connections reach the former replica, as primary. Open connections stay with the former primary. */
  async promote() {
    const [former, next] = this.#servers
    await obeyed(next, 'REPLICAOF', 'NO', 'ONE')
    this.#servers = [next, former]
  }

  /** What is not the primary becomes its replica. */
  async demote() {
    const [primary, other] = this.#servers
    await obeyed(other, 'REPLICAOF', '127.0.0.1', primary.port)
  }

  /** Resolves once the replica has what the primary has. That the link is up does not say so right after a full sync. */
  async level() {
    const [primary, replica] = this.#servers
    const written = Number(await replicationOf(primary, 'master_repl_offset'))
    await until('the replica to be level', async () => {
      const isUp = (await replicationOf(replica, 'master_link_status')) === 'up'
      return isUp && Number(await replicationOf(replica, 'slave_repl_offset')) >= written
    })
  }

  /**
   * How the process with this id reaches the others; `index` gives it an address of its own on the loopback. A guest has
   * none, and no rights that are ever taken.
   */
  channelOf(id, index) {
    const isGuest = index < 0
    return {
      name: 'redis',
      host: isGuest ? GUESTS_HOST : hostOf(index),
      port: this.#lines.get(isGuest ? undefined : id).port,
      username: isGuest ? 'default' : id,
      passwordFile: this.#passwordFile,
      channelName: CHANNEL
    }
  }

  /**
   * Cuts every given direction, `[from, to]` by ids, until `heal`. A node that is cut from another may not speak to all either,
   * so that no node hears it that way.
   */
  async cut(directions, incarnations) {
    for (const [from, to] of directions) this.#cuts.add(`${from}>${to}`)
    const senders = new Set(directions.map(([from]) => from))
    for (const from of senders) {
      const reachable = Object.entries(incarnations).filter(([to]) => !this.#cuts.has(`${from}>${to}`))
      const topics = [`${TOPIC}:*:echo`, ...reachable.map(([, incarnation]) => `${TOPIC}:${incarnation}`)]
      await this.#allow(from, `(+publish resetchannels ${topics.map(topic => `&${topic}`).join(' ')})`)
    }
  }

  async heal() {
    const senders = new Set([...this.#cuts].map(direction => direction.split('>')[0]))
    this.#cuts.clear()
    for (const from of senders) await this.#allow(from, '(+publish allchannels)')
  }

  /** The line of the process with this id: so many bytes a second from Redis (`down`) and to it (`up`), all if not given. */
  limit(id, rates) {
    this.#lines.get(id).limit(rates)
  }

  /** A new password for every process, which finds it in its file; who is connected by the former one is thrown out. */
  async rotatePasswords() {
    const password = `${PASSWORD}-${++this.#rotations}`
    for (const id of this.#ids) await this.#obeyed('ACL', 'SETUSER', id, 'resetpass', `>${password}`)
    fs.writeFileSync(this.#passwordFile, password)
    // A Redis that restarts reads its users from the file.
    await this.#obeyed('ACL', 'SAVE')
    for (const id of this.#ids) await this.redis.command('CLIENT', 'KILL', 'USER', id)
  }

  /** A new list of rights, put in place at once. */
  async #allow(id, rights) {
    await this.#obeyed('ACL', 'SETUSER', id, 'clearselectors', HEARS_ALL, rights)
  }

  /** Rights and passwords do not travel to a replica. */
  async #obeyed(...words) {
    for (const server of this.#servers) await obeyed(server, ...words)
  }

  async end() {
    for (const line of this.#lines.values()) line.end()
    for (const server of this.#servers) {
      server.thaw()
      await server.kill()
    }
  }
}

function startServer(aclFile, ids) {
  const users = ids.map(id => `user ${id} on >${PASSWORD} ${HEARS_ALL} (+publish allchannels)`)
  fs.writeFileSync(aclFile, `${['user default on nopass allkeys allchannels +@all', ...users].join('\n')}\n`)
  return startRedisServer({ settings: ['--aclfile', aclFile, '--repl-diskless-sync-delay', '0'] })
}

async function obeyed(server, ...words) {
  const reply = await server.command(...words)
  if (!reply.startsWith('+OK')) throw new Error(`${words.slice(0, 2).join(' ')}: ${reply}`)
}

/** A field of `INFO replication`; undefined where the server has none. */
async function replicationOf(server, field) {
  const lines = (await server.command('INFO', 'replication')).split('\r\n')
  return lines.find(line => line.startsWith(`${field}:`))?.slice(field.length + 1)
}

function hostOf(index) {
  return fs.existsSync('/proc/sys/net') ? loopbackOf(index) : '127.0.0.1'
}

function loopbackOf(index) {
  return `127.0.1.${index + 1}`
}

module.exports = { Network, loopbackOf }
