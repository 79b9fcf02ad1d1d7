/**
 * Is conflux 1.1.8 as a peer. It acknowledges before it applies; measured is until it has applied too.
 */
'use strict'

const { setTimeout: delay } = require('node:timers/promises')

const { Seen } = require('../seen')
const { startNodes } = require('./conflux')

const SETTLE_PATIENCE_MS = 10_000

module.exports = {
  name: 'conflux-1',
  title: 'conflux 1.1.8',
  promise: 'memory of a majority; measured until applied here',
  missing: () => undefined,
  start: (options, run) => startNodes('conflux-1', options, run),
  connect
}

function connect(options) {
  return new Client(options)
}

class Client {
  #node
  #waiting = new Map()
  #sequence = 0
  #applied = new Map()
  needsRamp = true
  acknowledged = new Seen()

  constructor({ id, size, channels }) {
    const conflux = require('conflux-1')
    this.origin = id
    this.#node = conflux({
      id,
      clusterSize: size,
      channel: channels[id],
      methods: { append: thing => thing },
      reduce: (state, thing) => (thing ? { count: state.count + 1, last: thing } : { count: 0, last: null })
    })
    this.#node.subscribe(() => this.#apply(this.#node.getState().last))
  }

  get isLeader() {
    return this.#node._gaggle.isLeader()
  }

  async perform() {
    const number = ++this.#sequence
    const applied = new Promise(resolve => this.#waiting.set(number, resolve))
    await this.#node.perform('append', [`${this.origin}:${number}`])
    this.acknowledged.add(number)
    await applied
  }

  #apply(thing) {
    const [origin, text] = thing.split(':')
    const number = Number(text)
    if (!this.#applied.has(origin)) this.#applied.set(origin, new Seen())
    this.#applied.get(origin).add(number)
    if (origin !== this.origin) return
    this.#waiting.get(number)?.()
    this.#waiting.delete(number)
  }

  /** Waits until nothing has come in for a while, as there is no way to ask; and not forever. */
  async settle() {
    const count = () => [...this.#applied.values()].reduce((sum, seen) => sum + seen.count, 0)
    const deadline = Date.now() + SETTLE_PATIENCE_MS
    for (let before = -1; before < count() && Date.now() < deadline; await delay(300)) before = count()
  }

  applied() {
    return Object.fromEntries(this.#applied)
  }
}
