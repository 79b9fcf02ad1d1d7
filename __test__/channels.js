/**
 * Custom channels for tests: one within a process, with faults if wanted, and one between processes over a relay.
 *
 * `cluster-node.js` joins the relay by its port; the other tests make the channels themselves.
 */
'use strict'

const { once } = require('node:events')
const net = require('node:net')

/**
 * A channel within this process. `faults` are probabilities: `{ lose, repeat, delay }`; what is delayed is overtaken by
 * what is sent later. `random` makes them.
 */
function makeHub({ lose = 0, repeat = 0, delay = 0 } = {}, random = Math.random) {
  const members = new Map()
  const counts = { lost: 0, repeated: 0, delayed: 0, delivered: 0 }
  const hand = (self, frame) => {
    if (random() < lose) return counts.lost++
    if (random() < repeat) {
      counts.repeated++
      setTimeout(() => members.get(self)?.(frame), random() * 50)
    }
    const isDelayed = random() < delay
    if (isDelayed) counts.delayed++
    counts.delivered++
    if (isDelayed) setTimeout(() => members.get(self)?.(frame), random() * 50)
    else setImmediate(() => members.get(self)?.(frame))
  }
  const join = (self, deliver) => {
    members.set(self, deliver)
    return {
      send: (to, frame) => members.has(to) && hand(to, frame),
      broadcast: frame => [...members.keys()].filter(to => to !== self).forEach(to => hand(to, frame)),
      close: () => members.delete(self)
    }
  }
  return { join, members, counts }
}

/** A server that hands frames on. Each is `{ to, length of the bytes }` as a line of JSON, and the bytes. */
async function startRelay() {
  const sockets = new Map()
  const server = net.createServer(socket => {
    let self = null
    socket.on('error', () => {})
    socket.on('close', () => sockets.get(self) === socket && sockets.delete(self))
    socket.on(
      'data',
      reader((head, bytes) => {
        if (head.self !== undefined) {
          self = head.self
          sockets.set(self, socket)
          write(socket, {}, Buffer.alloc(0))
          return
        }
        for (const [other, receiver] of sockets) {
          if (head.to === null ? other !== self : other === head.to) write(receiver, {}, bytes)
        }
      })
    )
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const cut = () => sockets.forEach(socket => socket.destroy())
  const close = async () => {
    cut()
    server.close()
    await once(server, 'close')
  }
  return { port: server.address().port, cut, close }
}

/** The function `join` of a channel over the relay. It connects again after a loss. */
function joinRelay(port) {
  return (self, deliver, report) => {
    let socket
    let hasClosed = false
    let isReady
    const ready = new Promise(resolve => (isReady = resolve))
    const connect = () => {
      if (hasClosed) return
      socket = net.connect(port, '127.0.0.1').setNoDelay(true)
      const read = reader((head, bytes) => (bytes.length === 0 ? (report(null), isReady()) : deliver(bytes)))
      socket.on('connect', () => write(socket, { self }, Buffer.alloc(0)))
      socket.on('data', read)
      socket.on('error', error => report(error))
      socket.on('close', () => {
        if (!hasClosed) report('the relay has ended the connection')
        setTimeout(connect, 20).unref()
      })
    }
    connect()
    return {
      ready,
      send: (to, bytes) => write(socket, { to }, bytes),
      broadcast: bytes => write(socket, { to: null }, bytes),
      close: () => {
        hasClosed = true
        socket.end()
      }
    }
  }
}

function write(socket, head, bytes) {
  if (!socket.writable) return
  socket.cork()
  socket.write(`${JSON.stringify({ ...head, length: bytes.length })}\n`)
  socket.write(bytes)
  socket.uncork()
}

/** Takes apart what a connection has put together. */
function reader(heard) {
  let buffered = Buffer.alloc(0)
  return data => {
    buffered = buffered.length === 0 ? data : Buffer.concat([buffered, data])
    for (;;) {
      const end = buffered.indexOf(10)
      if (end === -1) return
      const head = JSON.parse(buffered.subarray(0, end))
      if (buffered.length < end + 1 + head.length) return
      heard(head, buffered.subarray(end + 1, end + 1 + head.length))
      buffered = buffered.subarray(end + 1 + head.length)
    }
  }
}

/** Numbers from 0 to 1 that a seed decides. */
function seeded(seed) {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

module.exports = { joinRelay, makeHub, seeded, startRelay }
