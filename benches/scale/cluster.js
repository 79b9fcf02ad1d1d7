/**
 * Runs the nodes of one measurement of `scale.js` in a few processes over Redis. Called by the curves.
 */
'use strict'

const { randomUUID } = require('node:crypto')
const { setTimeout: delay } = require('node:timers/promises')

const { Process } = require('../process')

const PATIENCE_MS = 60_000
/** Idle stores hibernate after some seconds. */
const SETTLING_MS = 6000

class ScaleCluster {
  #processes = []
  #groups = []
  #redis
  #channelName = `scale-${randomUUID()}`
  #stores
  #options

  /** @param options `stores`: how many, each with the same nodes; `snapshot`; `reducerMicros`, `subscribers`. */
  constructor(redis, { stores = 1, ...options } = {}) {
    this.#redis = redis
    this.#stores = stores
    this.#options = options
  }

  /**
   * Starts groups of ids, each in a process, one after the other where they must not found together.
   *
   * @param founding how many groups found the cluster; their ids are its voters.
   */
  async start(groups, founding = groups.length) {
    const clusterSize = groups.slice(0, founding).flat().length
    const open = ids => this.#startProcess(ids, clusterSize).ask('open')
    await Promise.all(groups.slice(0, founding).map(open))
    for (const ids of groups.slice(founding)) await open(ids)
    await this.#eventually(async () => {
      const { members } = await this.ask(groups[0][0], 'status')
      return members === groups.flat().length
    })
    return this
  }

  /** Another process with one node; milliseconds until it has all that was committed when it started. */
  async join(id, clusterSize) {
    const start = performance.now()
    await this.#startProcess([id], clusterSize).ask('open')
    await this.ask(id, 'sync')
    return performance.now() - start
  }

  #startProcess(ids, clusterSize) {
    const { snapshot, ...options } = this.#options
    const nodes = Array.from({ length: this.#stores }, (_, store) =>
      ids.map(id => ({ id, clusterSize, snapshot, channel: this.#channel(store) }))
    )
    const process = new Process('scale-host.js', { ...options, nodes: nodes.flat() }, ['--no-warnings'])
    this.#processes.push(process)
    this.#groups.push(ids)
    return process
  }

  #channel(store) {
    return {
      name: 'redis',
      connectionString: this.#redis.url,
      channelName: `${this.#channelName}-${store}`
    }
  }

  /** Asks the process of an id, about its node of the first store. */
  ask(id, verb, argument) {
    const process = this.#processes[this.#groups.findIndex(ids => ids.includes(id))]
    return process.ask(verb, { channelName: `${this.#channelName}-0`, id, ...argument })
  }

  askAll(verb) {
    return Promise.all(this.#processes.map(process => process.ask(verb)))
  }

  /** Makes this id the leader of the first store. */
  async lead(id) {
    await this.#eventually(async () => {
      if ((await this.ask(id, 'status')).isLeader) return true
      // Refused while there is an election: it is tried again.
      await this.ask(id, 'lead').catch(() => {})
      return false
    })
  }

  /** What the cluster costs while it has nothing to do. */
  async idle(seconds) {
    await delay(SETTLING_MS)
    const look = async () => ({
      cpus: await this.askAll('cpuMicroseconds'),
      publishes: publishes(await this.#redis.command('INFO', 'commandstats')),
      at: performance.now()
    })
    const before = await look()
    await delay(seconds * 1000)
    const after = await look()
    const took = (after.at - before.at) / 1000
    const shares = after.cpus.map((cpu, i) => (cpu - before.cpus[i]) / 1e4 / took)
    return { cpuPercent: Math.max(...shares), publishes: (after.publishes - before.publishes) / took }
  }

  /** The connections of all processes to Redis. */
  async connections() {
    const clients = (await this.#redis.command('CLIENT', 'LIST')).trim().split('\n')
    return clients.filter(line => !line.includes('cmd=client|list')).length
  }

  async #eventually(holds) {
    for (const deadline = Date.now() + PATIENCE_MS; !(await holds()); await delay(50)) {
      if (Date.now() > deadline) throw new Error(`waited for ${PATIENCE_MS / 1000} s`)
    }
  }

  close() {
    for (const process of this.#processes) process.kill()
  }
}

function publishes(info) {
  return Number(/cmdstat_publish:calls=(\d+)/.exec(info)?.[1] ?? 0)
}

module.exports = { ScaleCluster }
