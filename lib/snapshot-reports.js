// Hands the snapshots of a node to its core, and publishes them to `conflux:snapshot` and the log.
//
// Made by node.js; called by replicated-state.js and snapshot.js.

'use strict'

const diagnostics = require('./diagnostics')

class SnapshotReports {
  #node
  #id
  #log
  #native

  /** @param native gives the core, which is opened later. */
  constructor(node, id, log, native) {
    this.#node = node
    this.#id = id
    this.#log = log
    this.#native = native
  }

  piece(text, isFirst) {
    this.#native().snapshotPiece(text, isFirst)
  }

  /** All pieces are handed over. */
  taken(index, characters, { micros, longest }) {
    this.#native().snapshotTaken(index, micros, longest)
    this.#report('taken', { characters, milliseconds: micros / 1000 })
  }

  failed(index, why, { micros, longest }) {
    this.#native().snapshotFailed(index, why, micros, longest)
    this.#report('failed', { why, milliseconds: micros / 1000 })
  }

  /** The state is that of a snapshot. */
  restored(index, characters) {
    this.#report('restored', { index, characters })
  }

  #report(what, facts) {
    if (diagnostics.snapshot.hasSubscribers) {
      diagnostics.snapshot.publish({ node: this.#node, id: this.#id, what, ...facts })
    }
    this.#log.write('debug', `a snapshot was ${what}`, { event: 'snapshot', ...facts })
  }
}

module.exports = { SnapshotReports }
