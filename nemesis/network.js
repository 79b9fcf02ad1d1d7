/**
 * This file is the network of a run: a real redis-server, and who may say what to whom through it.
 *
 * Owned by `cluster.js`. Every process logs in as a user of its own, and what that user may publish is changed while it
 * is connected: Redis then drops its frames to some of the others, in one direction, and nobody is told.
 */
'use strict'

const fs = require('node:fs')
const path = require('node:path')

const { startRedisServer } = require('../scripts/redis-server')
const { SlowLine } = require('./slow-line')

const CHANNEL = 'nemesis'
const TOPIC = `conflux:0:${CHANNEL}`
const PASSWORD = 'nemesis'

/** Everybody hears what is said to him: only speaking is ever forbidden. */
const HEARS_ALL = '(+@all -publish allchannels)'

class Network {
  #redis
  /** `${from}>${to}` for every direction that is cut, by ids. */
  #cuts = new Set()
  #ids
  #passwordFile
  #rotations = 0
  /** Each process's own way to Redis, by id, if there are such ways. */
  #lines = new Map()

  /** @param hasLines each process has a way to Redis of its own, which can be made slow. */
  static async start(folder, ids, hasLines) {
    const network = new Network()
    network.#ids = ids
    network.#passwordFile = path.join(folder, 'password')
    fs.writeFileSync(network.#passwordFile, PASSWORD)
    const aclFile = path.join(folder, 'users.acl')
    const users = ids.map(id => `user ${id} on >${PASSWORD} allkeys ${HEARS_ALL} (+publish allchannels)`)
    fs.writeFileSync(
      aclFile,
      `${['user default on nopass allkeys allchannels +@all', ...users].join('\n')}\n`
    )
    const bind = ['--bind', '127.0.0.1', ...ids.map((_, i) => loopbackOf(i))]
    const settings = fs.existsSync('/proc/sys/net') ? bind : []
    network.#redis = await startRedisServer({ settings: ['--aclfile', aclFile, ...settings] })
    for (const [index, id] of ids.entries()) {
      const listenOn = hostOf(index)
      if (hasLines) network.#lines.set(id, await SlowLine.start({ port: network.#redis.port }, { listenOn }))
    }
    return network
  }

  get redis() {
    return this.#redis
  }

  /** How the process with this id reaches the others; `index` gives it an address of its own on the loopback. */
  channelOf(id, index) {
    return {
      name: 'redis',
      host: hostOf(index),
      port: (this.#lines.get(id) ?? this.#redis).port,
      username: id,
      passwordFile: this.#passwordFile,
      channelName: CHANNEL
    }
  }

  /**
   * Cuts every given direction, `[from, to]` by ids, until `heal`. Who is cut from anybody may not speak to all either,
   * so that nobody hears him by that way.
   */
  async cut(directions, incarnations) {
    for (const [from, to] of directions) this.#cuts.add(`${from}>${to}`)
    const senders = new Set(directions.map(([from]) => from))
    for (const from of senders) {
      const reachable = Object.entries(incarnations).filter(([to]) => !this.#cuts.has(`${from}>${to}`))
      const topics = [`${TOPIC}:echo:*`, ...reachable.map(([, incarnation]) => `${TOPIC}:${incarnation}`)]
      await this.#allow(from, `(+publish resetchannels ${topics.map(topic => `&${topic}`).join(' ')})`)
    }
  }

  async heal() {
    const senders = new Set([...this.#cuts].map(direction => direction.split('>')[0]))
    this.#cuts.clear()
    for (const from of senders) await this.#allow(from, '(+publish allchannels)')
  }

  /** A new password for every process, which finds it in its file; who is connected by the former one is thrown out. */
  async rotatePasswords() {
    const password = `${PASSWORD}-${++this.#rotations}`
    for (const id of this.#ids) await this.#obeyed('ACL', 'SETUSER', id, 'resetpass', `>${password}`)
    fs.writeFileSync(this.#passwordFile, password)
    // A Redis that restarts reads its users from the file.
    await this.#obeyed('ACL', 'SAVE')
    for (const id of this.#ids) await this.#redis.command('CLIENT', 'KILL', 'USER', id)
  }

  /** What Redis says reaches this process at so many bytes a second. */
  slowDown(id, bytesPerSecond) {
    this.#lines.get(id).bytesPerSecond = bytesPerSecond
  }

  /** A new list of rights, put in place at once. */
  async #allow(id, rights) {
    await this.#obeyed('ACL', 'SETUSER', id, 'clearselectors', HEARS_ALL, rights)
  }

  async #obeyed(...words) {
    const reply = await this.#redis.command(...words)
    if (!reply.startsWith('+OK')) throw new Error(`${words.slice(0, 2).join(' ')}: ${reply}`)
  }

  async end() {
    for (const line of this.#lines.values()) line.close()
    this.#redis.thaw()
    await this.#redis.kill()
  }
}

function hostOf(index) {
  return fs.existsSync('/proc/sys/net') ? loopbackOf(index) : '127.0.0.1'
}

function loopbackOf(index) {
  return `127.0.1.${index + 1}`
}

module.exports = { Network, loopbackOf }
