/**
 * The line between a process and its Redis server: a TCP proxy whose target can change and whose rate can
 * be limited.
 *
 * Owned by `network.js`, and used by the tests of slow lines. A connection stays with the server that was the target
 * when it was opened: after a failover that closes nothing, old connections are on the former primary, new ones on the
 * next. All connections share the rate, as those of one machine do: what is large delays what is small behind it.
 */
'use strict'

const { once } = require('node:events')
const net = require('node:net')

const TURN_MS = 10
/** What the line itself holds: what is in flight, and the buffers around it. */
const HELD_MS = 20

class Line {
  #server
  #sockets = new Set()
  #downlink = new Rate()
  #uplink = new Rate()

  /** @param portOf gives the port on this machine that a new connection goes to. */
  static async start(portOf, host = '127.0.0.1') {
    const line = new Line()
    line.#server = net.createServer(client => line.#connect(client, net.connect(portOf(), '127.0.0.1')))
    await once(line.#server.listen(0, host), 'listening')
    line.url = `redis://${host}:${line.port}`
    return line
  }

  get port() {
    return this.#server.address().port
  }

  /** So many bytes came from Redis. */
  get bytes() {
    return this.#downlink.bytes
  }

  /** From now on, so many bytes a second pass from Redis, and to it; Infinity: all. */
  limit({ down = Infinity, up = Infinity }) {
    this.#downlink.limit(down)
    this.#uplink.limit(up)
  }

  end() {
    this.limit({})
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  #connect(client, redis) {
    this.#lead(redis, client, this.#downlink)
    this.#lead(client, redis, this.#uplink)
  }

  #lead(from, to, rate) {
    this.#sockets.add(from)
    from.setNoDelay()
    from.on('data', data => rate.pass({ from, to, data }))
    from.on('end', () => to.end())
    from.on('error', () => {})
    from.on('close', () => {
      this.#sockets.delete(from)
      to.destroySoon()
    })
  }
}

/** One direction. Each connection has at most one piece that waits, and the pieces pass in the order in which they came. */
class Rate {
  bytes = 0
  #bytesPerSecond = Infinity
  #waiting = []
  #budget = 0
  #timer

  limit(bytesPerSecond) {
    this.#bytesPerSecond = bytesPerSecond
    clearInterval(this.#timer)
    if (bytesPerSecond === Infinity) this.#turn()
    else this.#timer = setInterval(() => this.#turn(), TURN_MS)
  }

  pass(piece) {
    this.bytes += piece.data.length
    piece.from.pause()
    if (this.#bytesPerSecond === Infinity) write(piece, piece.data, true)
    else this.#waiting.push(piece)
  }

  #turn() {
    const perTurn = (this.#bytesPerSecond * TURN_MS) / 1000
    this.#budget = Math.min(this.#budget + perTurn, perTurn * (HELD_MS / TURN_MS))
    while (this.#budget > 0 && this.#waiting.length > 0) {
      const piece = this.#waiting[0]
      if (piece.to.destroyed) {
        this.#waiting.shift()
        continue
      }
      const part = piece.data.subarray(0, Math.ceil(Math.min(this.#budget, piece.data.length)))
      this.#budget -= part.length
      piece.data = piece.data.subarray(part.length)
      if (piece.data.length === 0) this.#waiting.shift()
      write(piece, part, piece.data.length === 0)
    }
    if (this.#bytesPerSecond === Infinity) this.#budget = 0
  }
}

/** Writes to a connection, and reads on when all that was read is written. */
function write({ from, to }, data, isLast) {
  const hasRoom = to.write(data)
  if (!isLast) return
  if (hasRoom) from.resume()
  else to.once('drain', () => from.resume())
}

module.exports = { Line }
