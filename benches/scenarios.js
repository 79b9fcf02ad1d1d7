/**
 * This file measures one thing on one fresh cluster of three nodes: latency one at a time, or throughput.
 *
 * Called by `bench.js`. Of both packages the same is measured: from the call of perform until the action is applied,
 * and acknowledged, on the node that performed.
 */
'use strict'

const { randomUUID } = require('node:crypto')

const { Process } = require('./process')

const IDS = ['a', 'b', 'c']
const START_PATIENCE_MS = 30_000

/** Milliseconds of each perform, one after the other, for `seconds`: from the leader, then from a follower. */
async function measureLatency({ seconds, ...setting }) {
  return withCluster(setting, async cluster => {
    const leader = await cluster.leader()
    const follower = IDS.find(id => id !== leader)
    const latencies = {}
    for (const [from, id] of Object.entries({ leader, follower })) {
      // What is compiled on the first calls is not what is measured.
      await cluster.ask(id, 'sequential', { seconds: seconds / 4 })
      latencies[from] = await cluster.ask(id, 'sequential', { seconds })
    }
    return { latencies }
  })
}

/** Performs applied per second on the leader, `inFlight` outstanding all the time, for `seconds`. */
async function measureThroughput({ inFlight, seconds, ...setting }) {
  return withCluster(setting, async cluster => {
    const leader = await cluster.leader()
    // 1.1.8 can lose what it acknowledged: what is not applied after this long counts as lost.
    return cluster.ask(leader, 'burst', { inFlight, seconds, patience: 3 * seconds })
  })
}

/** Adds the books to what is measured: of what was acknowledged, how much was lost, or applied twice, on any node. */
async function withCluster({ packageName, channel, redisUrl }, measure) {
  const cluster = new Cluster(packageName, channel, redisUrl)
  try {
    const measured = await measure(cluster)
    return { ...measured, ...(await cluster.books()) }
  } finally {
    cluster.kill()
  }
}

/** On memory all nodes share one process; over Redis each has its own. */
class Cluster {
  #hosts

  constructor(packageName, channelName, redisUrl) {
    const channel =
      channelName === 'memory'
        ? { name: 'memory' }
        : { name: 'redis', connectionString: redisUrl, channelName: `bench-${randomUUID()}` }
    const groups = channelName === 'memory' ? [IDS] : IDS.map(id => [id])
    this.#hosts = groups.map(ids => ({
      ids,
      // 1.1.8 warns of its many listeners.
      process: new Process('host.js', { packageName, ids, channel }, ['--no-warnings'])
    }))
  }

  ask(id, verb, argument) {
    return this.#hosts.find(host => host.ids.includes(id)).process.ask(verb, { id, ...argument })
  }

  /** Resolves once a perform went through everywhere; 1.1.8 refuses the first ones after an election. */
  async leader() {
    const deadline = Date.now() + START_PATIENCE_MS
    while (Date.now() < deadline) {
      const leaders = (await Promise.all(this.#hosts.map(host => host.process.ask('leaders')))).flat()
      if (leaders.length === 1 && (await this.ask(leaders[0], 'warmUp'))) return leaders[0]
      await new Promise(resolve => setTimeout(resolve, 50))
    }
    throw new Error('no leader within 30 s')
  }

  async books() {
    const hosts = await Promise.all(this.#hosts.map(host => host.process.ask('books')))
    const acknowledged = new Set(hosts.flatMap(host => host.acknowledged))
    let lost = 0
    let doubled = 0
    for (const log of hosts.flatMap(host => host.logs)) {
      const applied = new Set(log)
      doubled = Math.max(doubled, log.length - applied.size)
      lost = Math.max(lost, [...acknowledged].filter(thing => !applied.has(thing)).length)
    }
    return { acknowledged: acknowledged.size, lost, doubled }
  }

  kill() {
    for (const host of this.#hosts) host.process.kill()
  }
}

module.exports = { measureLatency, measureThroughput }
