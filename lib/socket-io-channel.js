// Makes the channel `socket.io` from the application's socket.io-client, as a custom channel.
//
// Called by core.js. The server's side is socket-io-server.js. The events, each with its arguments:
//
// | event       | from   | arguments |
// |---|---|---|
// | `join`      | client | the channel, this node's incarnation, acknowledgement |
// | `send`      | client | the receiver's incarnation, bytes |
// | `broadcast` | client | bytes |
// | `frame`     | server | bytes |
// | `received`  | both   | acknowledgement: all that was sent before has arrived |

'use strict'

const { isUint8Array } = require('node:util').types
const { Promise, setTimeout } = require('./environment')
const errors = require('./errors')
const { loadPeer } = require('./peer')
const { Window } = require('./socket-io-window')

/** Of this package within a server: an application may use the same server for other things. */
const NAMESPACE = '/conflux'
const SOCKET_IO_MAJOR = 4

/** The server acknowledges `join` within this time. */
const JOIN_TIMEOUT_MS = 1500
/** Less than a node waits for its channel. */
const CLOSE_TIMEOUT_MS = 400
const RECONNECT_MS_MIN = 50
const RECONNECT_MS_MAX = 500

const DEFAULTS = {
  // Without long polling first, no server needs sticky sessions, and nothing is sent in between two transports.
  transports: ['websocket'],
  reconnectionDelay: RECONNECT_MS_MIN,
  reconnectionDelayMax: RECONNECT_MS_MAX,
  // The node keeps the process alive, unless the application says otherwise.
  autoUnref: true
}

/** The function `join` of a custom channel. Throws where socket.io-client is missing. */
function joinOfSocketIO({ host, channel, options }) {
  const { io } = loadPeer('socket.io-client', SOCKET_IO_MAJOR, '"channel.name": "socket.io"')
  const address = host.replace(/\/$/, '') + NAMESPACE
  // A connection for each node, because nodes close separately.
  const settings = { ...DEFAULTS, ...options, forceNew: true, autoConnect: false }
  return (self, deliver, report) => {
    const link = new SocketIOLink(io(address, settings), address, channel, self, report)
    link.open(deliver)
    return link
  }
}

class SocketIOLink {
  /** Resolves once the server knows this node. */
  ready
  #socket
  #address
  #channel
  #self
  #report
  #isReady
  /** Null while nothing can be sent: socket.io would keep a frame, and send it when it is out of date. */
  #window = null
  #hasClosed = false

  constructor(socket, address, channel, self, report) {
    this.#socket = socket
    this.#address = address
    this.#channel = channel
    this.#self = self
    this.#report = report
    this.ready = new Promise(resolve => (this.#isReady = resolve))
  }

  open(deliver) {
    const socket = this.#socket
    socket.on('connect', () => this.#join())
    socket.on('disconnect', reason => this.#broken(`the connection has ended (${reason})`))
    socket.on('connect_error', error => this.#broken(errors.messageOf(error)))
    socket.on('frame', frame => isUint8Array(frame) && deliver(frame))
    socket.on('received', acknowledge => typeof acknowledge === 'function' && acknowledge())
    socket.connect()
  }

  /** The server forgets the name of a client when its connection ends. */
  #join() {
    const { id } = this.#socket
    this.#socket.timeout(JOIN_TIMEOUT_MS).emit('join', this.#channel, this.#self, error => {
      if (this.#hasClosed || this.#socket.id !== id) return
      if (error) {
        this.#broken('it does not answer: has it called `enhanceServerForSocketIOChannel`?')
        this.#join()
        return
      }
      this.#window = new Window(this.#socket)
      this.#report(null)
      this.#isReady()
    })
  }

  #broken(cause) {
    if (this.#hasClosed) return
    this.#window = null
    this.#report(`the socket.io server ${this.#address}: ${cause}`)
    // After the server refused or ended the connection, the client does not reconnect on its own.
    if (!this.#socket.active) setTimeout(() => this.#reconnect(), RECONNECT_MS_MAX).unref()
  }

  #reconnect() {
    if (!this.#hasClosed && !this.#socket.active) this.#socket.connect()
  }

  send(to, bytes) {
    this.#window?.emit(bytes.length, 'send', to, bytes)
  }

  broadcast(bytes) {
    this.#window?.emit(bytes.length, 'broadcast', bytes)
  }

  /** The server ignores what arrives together with the end of a connection: it confirms first that it has all. */
  close() {
    const socket = this.#socket
    const isConnected = this.#window !== null
    this.#hasClosed = true
    this.#window = null
    const disconnect = () => {
      socket.disconnect()
      socket.off()
    }
    if (!isConnected) return disconnect()
    return new Promise(resolve => {
      socket.timeout(CLOSE_TIMEOUT_MS).emit('received', () => {
        disconnect()
        resolve()
      })
    })
  }
}

module.exports = { NAMESPACE, SOCKET_IO_MAJOR, joinOfSocketIO }
