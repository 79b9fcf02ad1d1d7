// Estimates the time of the cluster outside of methods: the time of the last commit that has one, and what has passed since.
//
// Used by clients of recipes that read times from the state. The wall clock of this machine may be another than the leader's.

'use strict'

const { now, wallClock } = require('../environment')

/** By node: many clients of one node go by the same. */
const times = new WeakMap()

class ClusterTime {
  /** Of the last commit with a time, and when this node reduced it; undefined: there was none yet. */
  #at
  #since

  static of(node) {
    if (!times.has(node)) times.set(node, new ClusterTime(node))
    return times.get(node)
  }

  constructor(node) {
    node.subscribe(({ at }) => {
      if (at === undefined) return
      this.#at = at
      this.#since = now()
    })
  }

  /** In milliseconds, like `this.now()` of a method. Until a commit has a time, the wall clock of this machine. */
  now() {
    return this.#at === undefined ? wallClock() : this.#at + (now() - this.#since)
  }
}

module.exports = { ClusterTime }
