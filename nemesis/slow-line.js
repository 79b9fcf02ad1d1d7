/**
 * This file is a slow line: a proxy before a Redis that passes on only so many bytes a second of what Redis says.
 *
 * Called by `network.js` for the fault `slow-link`, and by the tests of slow lines. All connections share the line, as
 * those of one machine do: what is large delays what is small behind it.
 */
'use strict'

const { once } = require('node:events')
const net = require('node:net')

const TURN_MS = 10
/** What the line itself holds: what is on its way, and the buffers around it. */
const HELD_MS = 20

class SlowLine {
  #server
  #sockets = new Set()
  /** Connections from Redis with bytes that wait, in turn. */
  #waiting = []
  #budget = 0
  #timer

  /** @param bytesPerSecond that pass from Redis; Infinity: all. */
  static async start(
    { port, host = '127.0.0.1' },
    { bytesPerSecond = Infinity, listenOn = '127.0.0.1' } = {}
  ) {
    const line = new SlowLine()
    /** So many bytes came from Redis. */
    line.bytes = 0
    line.bytesPerSecond = bytesPerSecond
    line.#server = net.createServer(client => line.#connect(client, net.connect(port, host)))
    line.#server.listen(0, listenOn)
    await once(line.#server, 'listening')
    line.port = line.#server.address().port
    line.url = `redis://${listenOn}:${line.port}`
    line.#timer = setInterval(() => line.#turn(), TURN_MS)
    return line
  }

  close() {
    clearInterval(this.#timer)
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  #connect(client, redis) {
    for (const [socket, other] of [
      [client, redis],
      [redis, client]
    ]) {
      this.#sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => other.destroy())
      socket.on('close', () => {
        this.#sockets.delete(socket)
        other.destroy()
      })
    }
    client.pipe(redis)
    redis.on('data', data => {
      this.bytes += data.length
      if (this.bytesPerSecond === Infinity && this.#waiting.length === 0) return void client.write(data)
      redis.pause()
      this.#waiting.push({ client, redis, data })
    })
  }

  #turn() {
    const perTurn = (this.bytesPerSecond * TURN_MS) / 1000
    this.#budget = Math.min(this.#budget + perTurn, perTurn * (HELD_MS / TURN_MS))
    while (this.#budget > 0 && this.#waiting.length > 0) {
      const { client, redis, data } = this.#waiting[0]
      const part = data.subarray(0, Math.ceil(Math.min(this.#budget, data.length)))
      client.write(part)
      this.#budget -= part.length
      if (part.length === data.length) {
        this.#waiting.shift()
        redis.resume()
      } else this.#waiting[0].data = data.subarray(part.length)
    }
  }
}

module.exports = { SlowLine }
