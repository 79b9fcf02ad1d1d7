/**
 * A peer under test, as a scenario uses it: its processes, its leader, and its ledger.
 *
 * Made by the peers. It kills every process that it started.
 */
'use strict'

const { setTimeout: delay } = require('node:timers/promises')

const { Process } = require('./process')
const { Seen } = require('./seen')

const START_PATIENCE_MS = 20_000

class Cluster {
  #hosts
  #leaderId
  #audit
  #killServer

  /**
   * @param groups the ids of the nodes in each process.
   * @param leader the id to speak through if the peer's clients do not know who leads.
   * @param audit what each server applied, given the ids alive, where servers and not clients know it.
   * @param killServer kill -9 of the server of an id, where servers are processes of their own.
   */
  constructor({ groups, options, leader, execArgv = [], audit, killServer }) {
    this.ids = groups.flat()
    this.#leaderId = leader
    this.#audit = audit
    this.#killServer = killServer
    // 1.1.8 warns of its many listeners.
    const flags = ['--no-warnings', ...execArgv]
    this.#hosts = groups.map(ids => ({ ids, process: new Process('host.js', { ...options, ids }, flags) }))
  }

  async open() {
    await Promise.all(this.#hosts.map(host => host.process.ask('open')))
    return this
  }

  async openOne(id) {
    await this.#host(id).process.ask('open')
  }

  ask(id, verb, argument) {
    return this.#host(id).process.ask(verb, { id, ...argument })
  }

  #host(id) {
    return this.#hosts.find(host => host.ids.includes(id))
  }

  /** The id of the leader, once a call went through there; 1.1.8 refuses the first ones after an election. */
  async leader() {
    for (const deadline = Date.now() + START_PATIENCE_MS; Date.now() < deadline; await delay(30)) {
      const known = this.#leaderId ? [this.#leaderId] : await this.#leaders()
      if (known.length === 1 && (await this.ask(known[0], 'warmUp'))) return known[0]
    }
    throw new Error('no leader within 20 s')
  }

  async #leaders() {
    return (await Promise.all(this.#hosts.map(host => host.process.ask('leaders')))).flat()
  }

  async follower() {
    const leader = await this.leader()
    return this.ids.find(id => id !== leader)
  }

  kill(id) {
    const host = this.#host(id)
    host.process.kill()
    this.#killServer?.(id)
    this.#hosts = this.#hosts.filter(other => other !== host)
    this.ids = this.ids.filter(other => other !== id)
  }

  /** Of what was acknowledged: how much a node lacks, or applied twice. */
  async ledger() {
    const ask = async verb => (await Promise.all(this.#hosts.map(host => host.process.ask(verb)))).flat()
    // One after the other: calls may go on meanwhile, and other nodes apply an acknowledged action a little later.
    const origins = await ask('acknowledged')
    const applied = await ask('applied')
    const nodes = this.#audit ? await this.#audit(this.ids) : applied
    let acknowledged = 0
    let lost = 0
    let doubled = 0
    for (const { origin, acknowledged: json } of origins) {
      const wanted = Seen.from(json)
      acknowledged += wanted.count
      for (const node of nodes) {
        const applied = node[origin] ? Seen.from(node[origin]) : new Seen()
        lost = Math.max(lost, applied.lacks(wanted))
        doubled = Math.max(doubled, applied.doubled)
      }
    }
    return { acknowledged, lost, doubled, nodes: nodes.length }
  }

  close() {
    for (const host of this.#hosts) host.process.kill()
  }
}

module.exports = { Cluster }
