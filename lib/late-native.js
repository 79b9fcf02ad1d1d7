// Stands in for a node's core while another node of this process with the same id is still closing.
//
// Made by node.js. Calls are kept meanwhile, and passed to the core once that is opened.

'use strict'

const { nextTick } = require('./environment')

/** As the addon counts them (src/js/status.rs). */
const NO_DROPPED_FRAMES = {
  unsealed: 0,
  sealed: 0,
  unknownKey: 0,
  forged: 0,
  replayed: 0,
  misdirected: 0,
  malformed: 0,
  otherVersion: 0
}

class LateNative {
  #options
  #events
  #recorded = []
  #isOver = false

  /**
   * @param closed resolves when the former node has ended.
   * @param open opens the core.
   * @param events `opened(native)`, `failed(error)`, `stopped()`: one of them is called, once.
   */
  constructor(options, closed, open, events) {
    this.#options = options
    this.#events = events
    closed.then(() => {
      if (!this.#isOver) this.#open(open)
    })
  }

  #open(open) {
    this.#isOver = true
    let native
    try {
      native = open()
    } catch (error) {
      this.#events.failed(error)
      return
    }
    this.#events.opened(native)
    for (const [name, ...args] of this.#recorded) native[name](...args)
  }

  #record(...call) {
    this.#recorded.push(call)
  }

  /** Nothing is evaluated at once. */
  perform(first, text, _, beside) {
    this.#record('perform', first, text, false, beside)
    return null
  }

  /** No call has left this node. */
  withdraw(sequence) {
    this.#record('withdraw', sequence)
    return true
  }

  abandon(text) {
    this.#record('abandon', text)
  }

  beginOperation(text) {
    this.#record('beginOperation', text)
  }

  setIsolated(isIsolated) {
    this.#record('setIsolated', isIsolated)
  }

  setSecrets(text) {
    this.#record('setSecrets', text)
  }

  turnOver() {}

  close() {
    if (this.#isOver) return
    this.#isOver = true
    nextTick(() => this.#events.stopped())
  }

  kill() {
    this.#isOver = true
  }

  /** No entry: the log begins at 1, and was read up to 0. */
  commits() {
    return '[1,0]'
  }

  timers() {
    return '[]'
  }

  status() {
    const { id, clusterSize } = this.#options
    return JSON.stringify({
      id,
      incarnation: '',
      cluster: null,
      role: 'follower',
      leader: null,
      term: 0,
      commitIndex: 0,
      appliedIndex: 0,
      lastIndex: 0,
      clusterSize,
      snapshotIndex: 0,
      diverged: null,
      missing: [],
      members: [],
      faultTolerance: 0,
      waitingFor: 'waiting for the former node of this id, in this process, to close',
      caughtUp: false,
      hibernating: false,
      timers: { count: 0, nextDue: null },
      droppedFrames: NO_DROPPED_FRAMES
    })
  }
}

module.exports = { LateNative }
