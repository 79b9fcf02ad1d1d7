/**
 * This file is one process of the benchmark: nodes of conflux 1.1.8 or of this tree, measured by the same code.
 */
'use strict'

const { packageName, ids, channel } = JSON.parse(process.argv[2])
const isOld = packageName === 'conflux-1'
const conflux = isOld ? require('conflux-1') : require('..')

const RAMP_STEP = 50
const RAMP_PAUSE_MS = 20

/** A node, what it applied, and who waits for what. */
class Client {
  acknowledged = []
  log = []
  #waiting = new Map()
  #sequence = 0

  constructor(id) {
    this.id = id
    this.node = conflux({
      id,
      clusterSize: 3,
      channel,
      methods: { append: thing => thing },
      reduce: (state, thing) => (thing ? { count: state.count + 1, last: thing } : { count: 0, last: null })
    })
    this.node.subscribe(() => {
      const thing = this.node.getState().last
      this.log.push(thing)
      this.#waiting.get(thing)?.()
      this.#waiting.delete(thing)
    })
  }

  get isLeader() {
    return isOld ? this.node._gaggle.isLeader() : this.node.status().role === 'leader'
  }

  /** Resolves once the action is acknowledged and applied here; 1.1.8 acknowledges before it applies. */
  async perform() {
    const thing = `${this.id}:${++this.#sequence}`
    const applied = new Promise(resolve => this.#waiting.set(thing, resolve))
    await this.node.perform('append', [thing])
    this.acknowledged.push(thing)
    await applied
  }
}

const clients = ids.map(id => new Client(id))
const clientOf = ({ id }) => clients.find(client => client.id === id)

const verbs = {
  leaders: () => clients.filter(client => client.isLeader).map(client => client.id),

  warmUp: argument => {
    const performed = clientOf(argument)
      .perform()
      .then(
        () => true,
        () => false
      )
    return Promise.race([performed, delay(2000, false)])
  },

  sequential: async ({ seconds, ...argument }) => {
    const client = clientOf(argument)
    const latencies = []
    const end = performance.now() + seconds * 1000
    for (let start = performance.now(); start < end || latencies.length === 0; start = performance.now()) {
      await client.perform()
      latencies.push(performance.now() - start)
    }
    return latencies
  },

  burst: async ({ inFlight, seconds, patience, ...argument }) => {
    const client = clientOf(argument)
    let applied = 0
    let rejected = 0
    let end = Infinity
    const keepOne = async () => {
      while (performance.now() < end) {
        try {
          await client.perform()
          applied++
        } catch {
          // 1.1.8 refuses while it changes its leader.
          rejected++
          await delay(50)
        }
      }
    }
    // Filled step by step, if that is quick: thousands out of the blue are more than 1.1.8 survives over Redis.
    const all = []
    const full = performance.now() + seconds * 1000
    while (all.length < inFlight) {
      all.push(keepOne())
      if (all.length % RAMP_STEP === 0 && performance.now() < full) await delay(RAMP_PAUSE_MS)
    }
    const start = performance.now()
    const before = applied
    end = start + seconds * 1000
    await delay(seconds * 1000)
    const performsPerSecond = (applied - before) / ((performance.now() - start) / 1000)
    const isDrained = await Promise.race([Promise.all(all).then(() => true), delay(patience * 1000, false)])
    return { performsPerSecond, rejected, isDrained }
  },

  books: async () => {
    const longest = () => Math.max(...clients.map(client => client.log.length))
    // A follower learns of the last commits with the next heartbeat.
    for (let length = -1; length < longest(); await delay(300)) length = longest()
    return {
      acknowledged: clients.flatMap(client => client.acknowledged),
      logs: clients.map(client => client.log)
    }
  }
}

process.on('message', async ({ question, verb, argument }) => {
  try {
    process.send({ question, answer: await verbs[verb](argument ?? {}) })
  } catch (error) {
    process.send({ question, error: `${error.stack}` })
  }
})

function delay(ms, value) {
  return new Promise(resolve => setTimeout(resolve, ms, value))
}
