/**
 * This file is a TCP proxy whose target can change: each connection stays with the server that was the target when it was
 * opened.
 *
 * Owned by `network.js`. After a failover that closes nothing, old connections are on the former primary, new ones on the
 * next.
 */
'use strict'

const { once } = require('node:events')
const net = require('node:net')

class Front {
  #server
  #sockets = new Set()

  /** @param portOf gives the port on this machine to which a new connection is led. */
  static async start(host, portOf) {
    const front = new Front()
    front.#server = net.createServer(socket => front.#lead(socket, portOf()))
    await once(front.#server.listen(0, host), 'listening')
    return front
  }

  get port() {
    return this.#server.address().port
  }

  #lead(socket, port) {
    const upstream = net.connect(port, '127.0.0.1')
    for (const [one, other] of [
      [socket, upstream],
      [upstream, socket]
    ]) {
      this.#sockets.add(one)
      one.setNoDelay()
      one.pipe(other)
      one.on('error', () => other.destroy())
      one.on('close', () => {
        this.#sockets.delete(one)
        other.destroy()
      })
    }
  }

  end() {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }
}

module.exports = { Front }
