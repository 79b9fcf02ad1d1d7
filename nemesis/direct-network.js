/**
 * The networks of runs without a server: processes that connect to each other, over TCP or over the local channel.
 *
 * Owned by `cluster.js`. Over TCP each process dials each other one through a line of its own, which can be cut in each
 * direction and be slow; the address that it announces leads nowhere, so that no connection passes beside the lines. Every
 * start has a new port.
 */
'use strict'

const fs = require('node:fs')
const path = require('node:path')

const { freePorts } = require('../benches/ports')
const { Line } = require('./line')
const { loopbackOf } = require('./network')

const CHANNEL = 'nemesis'

/** The discard service: no machine of ours has it. */
const NOWHERE = '127.0.0.1:9'

const CUT = 0

class TcpNetwork {
  #ids
  /** By `${from}>${to}`: through it `from` dials `to`. */
  #lines = new Map()
  #ports = new Map()
  /** By direction, `${from}>${to}`; what is not limited is not here. */
  #rates = new Map()

  static async start(folder, ids) {
    const network = new TcpNetwork()
    network.#ids = ids
    for (const from of ids) {
      for (const to of ids.filter(id => id !== from)) {
        const host = fs.existsSync('/proc/sys/net') ? loopbackOf(ids.indexOf(from)) : '127.0.0.1'
        network.#lines.set(`${from}>${to}`, await Line.start(() => network.#ports.get(to) ?? 9, host))
      }
    }
    await network.prepare()
    return network
  }

  /** Draws the ports of the next starts. */
  async prepare() {
    const ports = await freePorts(this.#ids.length)
    this.next = new Map(this.#ids.map((id, i) => [id, ports[i]]))
  }

  channelOf(id) {
    const isGuest = !this.#ids.includes(id)
    const port = isGuest ? 0 : this.next.get(id)
    if (!isGuest) {
      this.#ports.set(id, port)
      this.prepare()
    }
    const peers = isGuest
      ? [...this.#ports.values()].map(port => `127.0.0.1:${port}`)
      : this.#ids.filter(to => to !== id).map(to => new URL(this.#lines.get(`${id}>${to}`).url).host)
    return {
      name: 'tcp',
      channelName: CHANNEL,
      listen: `127.0.0.1:${port}`,
      peers,
      advertise: isGuest ? undefined : NOWHERE
    }
  }

  /** Cuts every given direction, `[from, to]` by ids, until `heal`. */
  async cut(directions) {
    for (const [from, to] of directions) this.#rates.set(`${from}>${to}`, CUT)
    this.#apply()
  }

  async heal() {
    this.#rates.clear()
    this.#apply()
  }

  /** So many bytes a second reach the process with this id (`down`) from each other one and leave it (`up`). */
  limit(id, { down, up }) {
    for (const other of this.#ids.filter(other => other !== id)) {
      this.#set(`${other}>${id}`, down)
      this.#set(`${id}>${other}`, up)
    }
    this.#apply()
  }

  #set(direction, rate) {
    if (rate === undefined) this.#rates.delete(direction)
    else this.#rates.set(direction, rate)
  }

  #apply() {
    for (const [name, line] of this.#lines) {
      const [from, to] = name.split('>')
      line.limit({ up: this.#rates.get(`${from}>${to}`), down: this.#rates.get(`${to}>${from}`) })
    }
  }

  async end() {
    for (const line of this.#lines.values()) line.end()
  }
}

class LocalNetwork {
  #path

  static async start() {
    const network = new LocalNetwork()
    // The path of a socket must be short.
    network.#path = fs.mkdtempSync(path.join(fs.realpathSync('/tmp'), 'conflux-'))
    return network
  }

  channelOf() {
    return { name: 'local', channelName: CHANNEL, path: this.#path }
  }

  async end() {
    fs.rmSync(this.#path, { recursive: true, force: true })
  }
}

module.exports = { LocalNetwork, TcpNetwork }
