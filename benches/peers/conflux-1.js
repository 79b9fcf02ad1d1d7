/**
 * This file is conflux 1.1.8 as a peer. It acknowledges before it applies; measured is until it has applied too.
 */
'use strict'

const { randomUUID } = require('node:crypto')
const { setTimeout: delay } = require('node:timers/promises')

const { Seen } = require('../seen')

const SETTLE_PATIENCE_MS = 10_000

module.exports = {
  name: 'conflux-1',
  title: 'conflux 1.1.8',
  promise: 'memory of a majority; measured until applied here',
  missing: () => undefined,
  start,
  connect
}

async function start({ redis, size = 3, channel = 'redis', isLazy, execArgv }, run) {
  const { Cluster } = require('../cluster')
  const ids = Array.from({ length: size }, (_, i) => `n${i + 1}`)
  const cluster = new Cluster({
    groups: channel === 'memory' ? [ids] : ids.map(id => [id]),
    options: {
      peer: 'conflux-1',
      size,
      channel:
        channel === 'memory'
          ? { name: 'memory' }
          : { name: 'redis', connectionString: redis.url, channelName: `bench-${randomUUID()}` }
    },
    execArgv
  })
  run.defer(() => cluster.close())
  return isLazy ? cluster : cluster.open()
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

  constructor({ id, size, channel }) {
    const conflux = require('conflux-1')
    this.origin = id
    this.#node = conflux({
      id,
      clusterSize: size,
      channel,
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

  /** Waits until nothing has come in for a while, as there is no way to ask; and not for ever. */
  async settle() {
    const count = () => [...this.#applied.values()].reduce((sum, seen) => sum + seen.count, 0)
    const deadline = Date.now() + SETTLE_PATIENCE_MS
    for (let before = -1; before < count() && Date.now() < deadline; await delay(300)) before = count()
  }

  applied() {
    return Object.fromEntries(this.#applied)
  }
}
