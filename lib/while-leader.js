// Runs functions of the application while this node leads: `node.whileLeader`.
//
// Called by node.js. A run begins once this node has applied everything that was committed before its leadership.

'use strict'

const { AbortController, Promise, setTimeout } = require('./environment')
const errors = require('./errors')
const { shown } = require('./kind')

/** A recovered cluster counts its terms anew from those of a survivor: its tokens are above all former ones. */
const TOKENS_PER_RECOVERY = 2 ** 32

/** A read is repeated until it succeeds or the leadership ends. */
const CATCH_UP = { timeout: 60_000 }
const RETRY_MS = 100

class LeaderWork {
  /** The term in which this node leads, or 0. */
  #term = 0
  #workers = new Set()
  #caughtUp
  #token

  /**
   * @param caughtUp returns a promise: this node has applied everything that was committed before.
   * @param recoveries returns the number of times that the cluster was recovered.
   */
  constructor(caughtUp, recoveries) {
    this.#caughtUp = () => caughtUp(CATCH_UP)
    this.#token = term => recoveries() * TOKENS_PER_RECOVERY + term
  }

  /** Returns `stop`. */
  add(run) {
    if (typeof run !== 'function')
      throw errors.invalidArgument(`\`whileLeader\` takes a function, got ${shown(run)}`)
    const worker = new Worker(run, this.#caughtUp, this.#token)
    this.#workers.add(worker)
    worker.lead(this.#term)
    return () => {
      this.#workers.delete(worker)
      return worker.stop()
    }
  }

  /** The role of this node, or its term, has changed. */
  role(role, term) {
    const now = role === 'leader' ? term : 0
    if (now === this.#term) return
    this.#term = now
    for (const worker of this.#workers) worker.lead(now)
  }

  /** This node closes, or has ended. */
  end() {
    this.#term = 0
    for (const worker of this.#workers) worker.stop()
    this.#workers.clear()
  }
}

/** One function; at most one run of it at a time. */
class Worker {
  #run
  #caughtUp
  #token
  #term = 0
  #isStopped = false
  /** Of the run of the present leadership, or of the last one. */
  #controller = null
  #last = Promise.resolve()

  constructor(run, caughtUp, token) {
    this.#run = run
    this.#caughtUp = caughtUp
    this.#token = token
  }

  lead(term) {
    this.#term = term
    this.#controller?.abort(errors.notLeading())
    this.#controller = null
    if (term === 0) return
    const controller = new AbortController()
    this.#controller = controller
    this.#last = this.#last.then(() => this.#work(term, controller.signal))
  }

  stop() {
    this.#isStopped = true
    this.lead(0)
    return this.#last
  }

  /** Never rejects. */
  async #work(term, signal) {
    const isOver = () => this.#isStopped || signal.aborted || this.#term !== term
    while (!isOver()) {
      try {
        await this.#caughtUp()
        break
      } catch {
        // Without a quorum this leadership ends soon, or the quorum returns. If the node has ended, this is over.
        await new Promise(resolve => setTimeout(resolve, RETRY_MS).unref())
      }
    }
    if (isOver()) return
    try {
      await this.#run({ signal, token: this.#token(term) })
    } catch (error) {
      // A run may reject with the reason of its abort.
      if (!(signal.aborted && (error === signal.reason || error?.name === 'AbortError')))
        errors.surface(error)
    }
  }
}

module.exports = { LeaderWork }
