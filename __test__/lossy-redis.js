/**
 * Stands between a process and Redis, and loses or repeats what Redis pushes to it: frames, each whole.
 *
 * Called by the tests that need a bad network at the level of frames; TCP would make a delay of a packet that is dropped.
 * The echoes by which a link knows that it works always pass.
 */
'use strict'

const { once } = require('node:events')
const net = require('node:net')

/** A topic whose name ends with this carries echoes. */
const ECHO = ':echo'

class LossyRedis {
  #server
  #sockets = new Set()

  /**
   * @param url of the real one.
   * @param copies how often a frame arrives, given its bytes: 0 is lost, 1 as it should be.
   */
  static async start(url, copies) {
    const { hostname, port } = new URL(url)
    const lossy = new LossyRedis()
    lossy.#server = net.createServer(client => lossy.#connect(client, net.connect(port, hostname), copies))
    lossy.#server.listen(0, '127.0.0.1')
    await once(lossy.#server, 'listening')
    lossy.url = `redis://127.0.0.1:${lossy.#server.address().port}`
    return lossy
  }

  close() {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  #connect(client, redis, copies) {
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
    let rest = Buffer.alloc(0)
    redis.on('data', data => {
      rest = rest.length === 0 ? data : Buffer.concat([rest, data])
      let start = 0
      for (let end = endOf(rest, 0); end !== undefined; end = endOf(rest, start)) {
        const reply = rest.subarray(start, end)
        start = end
        const frame = frameOf(reply)
        for (let left = frame === undefined ? 1 : copies(frame); left > 0; left--) client.write(reply)
      }
      rest = rest.subarray(start)
    })
  }
}

/** Where the reply that begins at `at` ends; undefined: not here yet. */
function endOf(bytes, at) {
  const lineEnd = bytes.indexOf('\r\n', at)
  if (lineEnd === -1) return undefined
  const after = lineEnd + 2
  const count = () => Math.max(0, Number(bytes.toString('latin1', at + 1, lineEnd)))
  switch (String.fromCharCode(bytes[at])) {
    case '$': {
      const isNull = bytes[at + 1] === '-'.charCodeAt(0)
      const end = isNull ? after : after + count() + 2
      return end <= bytes.length ? end : undefined
    }
    case '*':
    case '>': {
      let end = after
      for (let left = count(); left > 0 && end !== undefined; left--) end = endOf(bytes, end)
      return end
    }
    default:
      return after
  }
}

/** What was published, if this reply pushes a message that is no echo. */
function frameOf(reply) {
  if (!['*', '>'].includes(String.fromCharCode(reply[0]))) return undefined
  const parts = []
  for (let at = reply.indexOf('\r\n') + 2; at < reply.length; at = endOf(reply, at)) {
    if (reply[at] !== '$'.charCodeAt(0)) return undefined
    const start = reply.indexOf('\r\n', at) + 2
    parts.push(reply.subarray(start, endOf(reply, at) - 2))
  }
  const [kind, topic, frame] = parts
  return kind?.toString() === 'message' && !topic.toString().endsWith(ECHO) ? frame : undefined
}

module.exports = { LossyRedis }
