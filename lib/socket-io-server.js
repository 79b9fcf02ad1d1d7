// Makes a server of socket.io forward the frames of the channel `socket.io`.
//
// Called by socket.io.js. The events are those of socket-io-channel.js. Any client of the server can send anything:
// malformed input is ignored, and nothing throws.

'use strict'

const { isUint8Array } = require('node:util').types
const { Promise, nextTick } = require('./environment')
const errors = require('./errors')
const { loadPeer } = require('./peer')
const { NAMESPACE, SOCKET_IO_MAJOR } = require('./socket-io-channel')
const { Window } = require('./socket-io-window')

const DEFAULTS = {
  serveClient: false,
  // The largest frame has little more than a call's arguments, 1 MiB.
  maxHttpBufferSize: 16 << 20,
  // A client that hangs, or a server, is noticed within three seconds.
  pingInterval: 1000,
  pingTimeout: 2000
}

const NAME_CHARACTERS_MAX = 256

/**
 * @param server of node:http or node:https, or one of socket.io itself.
 * @param options of the server of socket.io that is made for the former.
 * @returns a function that closes it.
 */
function enhanceServer(server, options) {
  const isSocketIO = typeof server?.of === 'function'
  if (!isSocketIO && typeof server?.on !== 'function') {
    throw errors.invalidArgument(
      '`enhanceServerForSocketIOChannel` takes a server of node:http or of socket.io'
    )
  }
  if (isSocketIO && options !== undefined) {
    throw errors.invalidArgument(
      '`enhanceServerForSocketIOChannel`: the options are those of a server that it makes'
    )
  }
  const io = isSocketIO ? server : makeServer(server, options)
  const namespace = io.of(NAMESPACE)
  const hub = new Hub()
  const connected = socket => hub.add(socket)
  namespace.on('connection', connected)
  return callback => {
    namespace.off('connection', connected)
    const closed = isSocketIO ? disconnectAll(namespace) : closeServer(io)
    if (typeof callback === 'function') closed.then(() => nextTick(callback))
    return closed
  }
}

function makeServer(server, options) {
  const { Server } = loadPeer('socket.io', SOCKET_IO_MAJOR, '`enhanceServerForSocketIOChannel`')
  return new Server(server, { ...DEFAULTS, ...options })
}

async function disconnectAll(namespace) {
  namespace.disconnectSockets()
}

/** As in conflux 1.x, the given server closes with it. It may not have listened yet. */
function closeServer(io) {
  return new Promise(resolve => io.close(() => resolve()))
}

/** Knows which socket belongs to which node of which channel. */
class Hub {
  /** By channel, then by incarnation: a copy of a node's directory has the same one. */
  #channels = new Map()

  add(socket) {
    let place = null
    const window = new Window(socket)
    const leave = () => {
      if (place !== null) this.#remove(place, window)
      place = null
    }
    socket.on('join', (channel, self, acknowledge) => {
      if (!isName(channel) || !isName(self) || typeof acknowledge !== 'function') return
      leave()
      place = { channel, self }
      this.#insert(place, window)
      acknowledge()
    })
    socket.on('send', (to, frame) => {
      if (place === null || !isUint8Array(frame)) return
      for (const receiver of this.#channels.get(place.channel).get(to) ?? []) hand(receiver, frame)
    })
    socket.on('broadcast', frame => {
      if (place === null || !isUint8Array(frame)) return
      for (const [self, receivers] of this.#channels.get(place.channel)) {
        if (self !== place.self) for (const receiver of receivers) hand(receiver, frame)
      }
    })
    socket.on('received', acknowledge => {
      if (typeof acknowledge === 'function') acknowledge()
    })
    socket.on('disconnect', leave)
  }

  #insert({ channel, self }, window) {
    if (!this.#channels.has(channel)) this.#channels.set(channel, new Map())
    const nodes = this.#channels.get(channel)
    if (!nodes.has(self)) nodes.set(self, new Set())
    nodes.get(self).add(window)
  }

  #remove({ channel, self }, window) {
    const nodes = this.#channels.get(channel)
    nodes.get(self).delete(window)
    if (nodes.get(self).size === 0) nodes.delete(self)
    if (nodes.size === 0) this.#channels.delete(channel)
  }
}

function hand(receiver, frame) {
  receiver.emit(frame.length, 'frame', frame)
}

function isName(value) {
  return typeof value === 'string' && value !== '' && value.length <= NAME_CHARACTERS_MAX
}

module.exports = { enhanceServer }
