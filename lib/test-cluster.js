// Opens a cluster for the tests of an application, breaks it, and waits for it (`conflux/testing`).
//
// Called by testing.js. The nodes share a memory channel that no other node can join: its name is drawn.

'use strict'

const { randomUUID } = require('node:crypto')
const { callOptions } = require('./call-options')
const { Promise, now, setTimeout } = require('./environment')
const errors = require('./errors')
const { open } = require('./native')
const { Node } = require('./node')
const { check } = require('./options')

const SIZE_MAX = 99
/** Less than the 5 s that Jest and Vitest give a test: a reason is worth more than their message. */
const TIMEOUT_MS_DEFAULT = 4000
const POLL_MS = 5

/**
 * Resolves with a `TestCluster` once all nodes have caught up.
 *
 * @param given the options of all nodes, or a function of a node's id that gives its options.
 */
async function cluster(size, given) {
  if (!Number.isInteger(size) || size < 1 || size > SIZE_MAX) {
    throw errors.invalidArgument(`\`cluster\` takes a size from 1 to ${SIZE_MAX}, got ${String(size)}`)
  }
  const opened = new TestCluster(size)
  try {
    opened.open(given)
    await opened.settled()
    return opened
  } catch (error) {
    await opened.close()
    throw error
  }
}

class TestCluster {
  /** All nodes, crashed ones included: `a`, `b`, `c`, … */
  nodes = []
  channelName = `conflux-testing-${randomUUID()}`
  #size
  /** The `Node` behind each handle. */
  #insides = new Map()
  #isolated = new Set()
  #crashed = new Set()
  #closing = null

  constructor(size) {
    this.#size = size
    // Before Node 20.4 the symbol does not exist.
    if (Symbol.asyncDispose !== undefined) {
      Object.defineProperty(this, Symbol.asyncDispose, { value: () => this.close() })
    }
  }

  /** Opens all nodes. Throws what `conflux(options)` throws. */
  open(given) {
    for (let i = 0; i < this.#size; i++) {
      const id = nameOf(i)
      const options = typeof given === 'function' ? given(id) : given
      const channel = { name: 'memory', channelName: this.channelName }
      const node = new Node(check({ ...options, id, clusterSize: this.#size, channel }), open)
      this.#insides.set(node.handle, node)
      this.nodes.push(node.handle)
    }
  }

  /** The node that leads the majority; waits for one. */
  async leader(options) {
    let leader
    await this.#until('leader', options, () => {
      leader = this.#leaderNow()
      return leader !== undefined
    })
    return leader
  }

  /** Waits until no call is pending and all nodes that are there have the same state. */
  async settled(options) {
    await this.#until('settled', options, () => this.#isSettled())
  }

  /** From now on this node and the others do not receive each other's frames, as in a broken network. */
  isolate(node) {
    const inside = this.#openNode('isolate', node)
    inside.setIsolated(true)
    this.#isolated.add(node)
  }

  /** All nodes that have not crashed hear each other again. */
  heal() {
    for (const node of this.#isolated) this.#insides.get(node).setIsolated(false)
    this.#isolated.clear()
  }

  /** As if the node's process had been killed: the others are not notified. Its pending calls end as `'unknown'`. */
  crash(node) {
    const inside = this.#openNode('crash', node)
    this.#crashed.add(node)
    this.#isolated.delete(node)
    inside.crash()
  }

  /** Closes all nodes. An isolated node cannot leave gracefully: it is ended. */
  close() {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close() {
    for (const node of this.#isolated) this.#insides.get(node).crash()
    await Promise.all(this.nodes.map(node => node.close()))
  }

  #openNode(what, node) {
    const inside = this.#insides.get(node)
    if (inside === undefined) {
      const hint = typeof node?.then === 'function' ? ', got a promise: `await` it first' : ''
      throw errors.invalidArgument(`\`${what}\` takes a node of this cluster${hint}`)
    }
    if (inside.hasEnded) throw errors.invalidArgument(`\`${what}\`: node "${node.status().id}" has ended`)
    return inside
  }

  /** Those that are open and hear each other. */
  get #connected() {
    return this.nodes.filter(node => !this.#isolated.has(node) && !this.#insides.get(node).hasEnded)
  }

  /** A majority of the voters follows it in its own term. */
  #leaderNow() {
    const connected = this.#connected.map(node => ({ node, status: node.status() }))
    return connected.find(({ status: { id, role, term, members } }) => {
      if (role !== 'leader') return false
      const voters = members.filter(member => member.voter).map(member => member.id)
      const follow = connected.filter(({ status }) => status.leader === id && status.term === term)
      return follow.filter(({ status }) => voters.includes(status.id)).length > voters.length / 2
    })?.node
  }

  #isSettled() {
    const leader = this.#leaderNow()
    if (leader === undefined) return false
    const { id, term, commitIndex, lastIndex } = leader.status()
    return (
      commitIndex === lastIndex &&
      this.#connected.every(node => {
        const status = node.status()
        const isCurrent = status.leader === id && status.term === term && status.appliedIndex === commitIndex
        return isCurrent && status.caughtUp && status.pending === 0
      })
    )
  }

  async #until(what, options, condition) {
    const { timeout = TIMEOUT_MS_DEFAULT } = callOptions(options, ['timeout'])
    const end = now() + timeout
    while (!condition()) {
      if (this.#closing !== null)
        throw errors.core('ERR_CONFLUX_CLOSED', `\`${what}\`: this cluster is closed`)
      this.#throwFailure()
      if (now() >= end) throw this.#timeoutError(what, timeout)
      await new Promise(resolve => setTimeout(resolve, POLL_MS))
    }
  }

  /** A node that failed is not waited for. */
  #throwFailure() {
    for (const node of this.nodes) {
      const { id, failure } = node.status()
      if (failure !== null) throw errors.core(failure.code, `node "${id}" failed: ${failure.message}`)
    }
  }

  #timeoutError(what, timeout) {
    const nodes = this.nodes.map(node => `${node.status().id} ${this.#describe(node)}`)
    return errors.core('ERR_CONFLUX_TIMEOUT', `\`${what}\`: not within ${timeout} ms: ${nodes.join('; ')}`, {
      timeout
    })
  }

  #describe(node) {
    if (this.#crashed.has(node)) return 'has crashed'
    if (this.#isolated.has(node)) return 'is isolated'
    const { state, role, leader, term, waitingFor, appliedIndex, lastIndex, pending } = node.status()
    if (state !== 'open') return `is ${state}`
    if (waitingFor !== null) return `waits: ${waitingFor}`
    const part = role === 'leader' ? 'leads' : `follows ${leader}`
    return `${part} in term ${term}, applied ${appliedIndex} of ${lastIndex}, ${pending} calls pending`
  }
}

/** `a` to `z`, then `a2`. */
function nameOf(i) {
  const letter = String.fromCharCode('a'.charCodeAt(0) + (i % 26))
  return i < 26 ? letter : `${letter}${Math.floor(i / 26) + 1}`
}

module.exports = { cluster }
