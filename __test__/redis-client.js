/**
 * A stranger at the Redis server of a cluster: it listens to everything and publishes what it likes, as
 * every client can that has the password. It knows how a frame is laid out (src/raft/wire/frame.rs), and can seal one.
 */
'use strict'

const { once } = require('node:events')
const net = require('node:net')

/** Listens to all topics of conflux until it is closed. */
class Listener {
  #socket
  #rest = Buffer.alloc(0)
  /** `{ topic, payload }`, oldest first; no more than `max`. */
  heard = []

  constructor({ port, password }, max) {
    this.#socket = net.connect(port, '127.0.0.1', () => {
      this.#socket.write(Buffer.concat([command('AUTH', password), command('PSUBSCRIBE', 'conflux:*')]))
    })
    this.#socket.on('data', data => {
      this.#rest = Buffer.concat([this.#rest, data])
      for (let reply; (reply = this.#next()) !== undefined;) {
        const [kind, , topic, payload] = reply
        if (String(kind) === 'pmessage' && this.heard.length < max)
          this.heard.push({ topic: String(topic), payload })
      }
    })
  }

  /** The parts of the next whole reply; a number in it is null. */
  #next() {
    const parts = []
    let at = 0
    const line = () => {
      const end = this.#rest.indexOf('\r\n', at)
      if (end < 0) return undefined
      const text = this.#rest.toString('latin1', at, end)
      at = end + 2
      return text
    }
    const count = line()
    if (count === undefined) return undefined
    if (count[0] !== '*') {
      // The answer to AUTH.
      this.#rest = this.#rest.subarray(at)
      return []
    }
    for (let i = 0; i < Number(count.slice(1)); i++) {
      const head = line()
      if (head === undefined) return undefined
      if (head[0] === ':') {
        parts.push(null)
        continue
      }
      const length = Number(head.slice(1))
      if (this.#rest.length < at + length + 2) return undefined
      parts.push(Buffer.from(this.#rest.subarray(at, at + length)))
      at += length + 2
    }
    this.#rest = this.#rest.subarray(at)
    return parts
  }

  close() {
    this.#socket.destroy()
  }
}

/** Publishes on one connection, whose replies it does not wait for. */
class Publisher {
  #socket
  #received = 0

  static async connect({ port, password }) {
    const publisher = new Publisher()
    publisher.#socket = net.connect(port, '127.0.0.1')
    await once(publisher.#socket, 'connect')
    publisher.#socket.write(command('AUTH', password))
    publisher.#socket.on('data', data => {
      for (const byte of data) publisher.#received += byte === COLON ? 1 : 0
    })
    return publisher
  }

  /** How many messages the server has published. */
  get published() {
    return this.#received
  }

  publish(messages) {
    this.#socket.write(
      Buffer.concat(messages.map(({ topic, payload }) => command('PUBLISH', topic, payload)))
    )
  }

  close() {
    this.#socket.destroy()
  }
}

const COLON = 58

function command(...parts) {
  const buffers = parts.flatMap(part => {
    const bytes = Buffer.from(part)
    return [Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n')]
  })
  return Buffer.concat([Buffer.from(`*${parts.length}\r\n`), ...buffers])
}

/** `magic (2) | version (1) | checksum (4, little endian) | length of the header (1) | header | messages` */
const CHECKSUM_OFFSET = 3
const BODY_OFFSET = 7
/** In the header: the length of the cluster's uuid, and the uuid. */
const CLUSTER_OFFSET = BODY_OFFSET + 2

/** Makes the checksum of a frame right: the CRC32C of the messages, and then of the header and its length. */
function seal(frame) {
  const messages = Math.min(BODY_OFFSET + 1 + frame[BODY_OFFSET], frame.length)
  const summed = Buffer.concat([frame.subarray(messages), frame.subarray(BODY_OFFSET, messages)])
  frame.writeUInt32LE(crc32c(summed), CHECKSUM_OFFSET)
  return frame
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? (byte >>> 1) ^ 0x82f63b78 : byte >>> 1
  return byte
})

function crc32c(bytes) {
  let sum = 0xffffffff
  for (const byte of bytes) sum = TABLE[(sum ^ byte) & 255] ^ (sum >>> 8)
  return (sum ^ 0xffffffff) >>> 0
}

module.exports = { BODY_OFFSET, CLUSTER_OFFSET, Listener, Publisher, seal }
