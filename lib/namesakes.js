// Records which nodes are open in this process, so that a node that follows another one of the same id waits for its
// end.
//
// Called by node.js. A development server evaluates a module again that opens a node: the former one is still open, or
// still closing. Copies of conflux in one process share the list, for a server may evaluate conflux again as well.

'use strict'

const { Promise, process } = require('./environment')
const { placeOfCaller } = require('./own-frames')

/** Of the process: a set of entries. */
const KEY = Symbol.for('conflux.openNodes')

/** Equal for two nodes that would meet on one channel with one id. */
function keyOf({ id, channel }) {
  const { name, channelName, connectionString, host, port, db, channel: ofSocketIO } = channel
  const { sentinels, clusterNodes } = channel
  return JSON.stringify([
    ...[id, name, channelName, connectionString, host, port, db, ofSocketIO],
    ...[sentinels, clusterNodes]
  ])
}

class Namesakes {
  #entry

  /**
   * @param state gives that of the node, as `status()` does.
   * @param closed resolves when the node has ended.
   * @param entry the function that the application called to open the node.
   */
  constructor(options, state, closed, entry) {
    this.#entry = { key: keyOf(options), place: placeOfCaller(entry), state, closed }
  }

  /** The node is open. May be called twice. */
  add() {
    if (process[KEY] === undefined) Object.defineProperty(process, KEY, { value: new Set() })
    process[KEY].add(this.#entry)
  }

  /** The node is not open any more. */
  remove() {
    process[KEY]?.delete(this.#entry)
  }

  get #others() {
    const { key } = this.#entry
    return [...(process[KEY] ?? [])].filter(entry => entry !== this.#entry && entry.key === key)
  }

  /** Resolves when those have ended that are closing; undefined if none is. */
  get closing() {
    const closing = this.#others.filter(entry => entry.state() === 'closing')
    return closing.length === 0 ? undefined : Promise.all(closing.map(entry => entry.closed))
  }

  /** A sentence about another that is open, or the empty string. */
  describe() {
    const [other] = this.#others
    if (other === undefined) return ''
    const where = other.place === undefined ? '' : ` (opened ${other.place})`
    return (
      `. The other node is in this process${where}: if the module that opens it was evaluated again, keep the node ` +
      'in `globalThis`; docs/guide.md says how'
    )
  }
}

module.exports = { Namesakes }
