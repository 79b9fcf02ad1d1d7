// Limits the bytes that wait in a connection of socket.io, which itself queues without a limit.
//
// Used by both ends. What exceeds the limit is lost, as on any channel: Raft repeats what matters.

'use strict'

const BYTES_MAX = 32 << 20
/** The other end acknowledges after this many bytes. */
const MARK_BYTES = 1 << 20

class Window {
  #socket
  /** Emitted and not acknowledged. */
  #bytes = 0
  #sinceMark = 0

  /** @param socket a connected one: a new connection needs a new window. */
  constructor(socket) {
    this.#socket = socket
  }

  /** Emits an event that carries this many bytes, or loses it. */
  emit(bytes, ...event) {
    if (this.#bytes > BYTES_MAX) return
    this.#socket.emit(...event)
    this.#bytes += bytes
    this.#sinceMark += bytes
    if (this.#sinceMark < MARK_BYTES) return
    const marked = this.#sinceMark
    this.#sinceMark = 0
    this.#socket.emit('received', () => (this.#bytes -= marked))
  }
}

module.exports = { Window }
