/**
 * Runs a cluster of OS processes over a real Redis and audits their ledger: what was acknowledged, what was
 * applied.
 *
 * Called by the tests that kill processes or break Redis. `cluster-node.js` is what runs in each process, `ledger.js`
 * the state that they share.
 */
'use strict'

const assert = require('node:assert/strict')
const { fork } = require('node:child_process')
const { randomUUID } = require('node:crypto')
const { once } = require('node:events')
const path = require('node:path')

const { contains } = require('./ledger')

const PATIENCE_MS = 90_000

class Cluster {
  #settings
  #size
  #folder
  #env

  /**
   * Starts `size` processes that found one cluster.
   *
   * @param options.folder where each id keeps its storage in a directory of its own; none: in memory.
   * @param options.options further options of every node; `channel` may be a function of a node's id.
   * @param options.env further environment variables of every process.
   */
  constructor(redisUrl, { size = 3, folder, options = {}, env = {} } = {}) {
    const channel = { name: 'redis', connectionString: redisUrl, channelName: `test-${randomUUID()}` }
    this.#settings = { clusterSize: size, channel, ...options }
    this.#size = size
    this.#folder = folder
    this.#env = env
    /** One for each process, in the order of their starts, dead ones included. */
    this.members = []
    for (let i = 0; i < size; i++) this.start()
  }

  /**
   * Starts one more process: under a fresh id, or under that of a process which has ended.
   *
   * @param options that overrule those of all.
   * @param more.redisUrl its own way to the same Redis.
   * @param more.env further environment variables.
   */
  start(id = `node-${this.members.length + 1}`, options = {}, { redisUrl, env } = {}) {
    const origin = `${id}#${this.members.length + 1}`
    const storage = this.#folder && { path: this.directory(id) }
    const { channel: given } = this.#settings
    const channel = typeof given === 'function' ? given(id) : given
    const ownChannel = redisUrl ? { ...channel, connectionString: redisUrl } : channel
    const own = { ...this.#settings, channel: ownChannel, id, origin, storage, ...options }
    const member = new Member(own, { ...this.#env, ...env })
    this.members.push(member)
    return member
  }

  directory(id) {
    return path.join(this.#folder, id)
  }

  get living() {
    return this.members.filter(member => member.isAlive)
  }

  /** Everything that any member acknowledged, dead ones included: `{ thing, at, leader }`. */
  get acknowledged() {
    return this.members.flatMap(member => member.acknowledged)
  }

  /** Resolves with the member that all living ones take for their leader. */
  async leader() {
    let leader
    await until('a leader that all agree on', () => {
      const ids = new Set(this.living.map(member => member.leader))
      leader = ids.size === 1 ? this.living.find(member => ids.has(member.id)) : undefined
      return leader !== undefined
    })
    return leader
  }

  /** Resolves with the leader once it hears as many voters as the cluster is to have, all of them alive. */
  async whole() {
    let leader
    await until(`${this.#size} living voters`, async () => {
      leader = await this.leader()
      const { role, members } = await leader.ask('status')
      const voters = members.filter(({ voter }) => voter)
      const isHeard = ({ incarnation, active }) => active && living.has(incarnation)
      // Not their ids: the dead one may have had the same.
      const living = new Set(await this.incarnations())
      return role === 'leader' && voters.length === this.#size && voters.every(isHeard)
    })
    return leader
  }

  /** Of the living members. */
  async incarnations() {
    const statuses = await Promise.all(this.living.map(member => member.ask('status')))
    return statuses.map(({ incarnation }) => incarnation).sort()
  }

  /** Every living member calls until `settle()`, as `Member.load` says. */
  load(options) {
    for (const member of this.living) member.load(options)
  }

  /** So many clients perform until `settle()`, each at one member, `inFlight` at a time. */
  loadBy(clients, { inFlight, pause }) {
    const { living } = this
    living.forEach((member, i) => {
      const here = Array.from({ length: clients }).filter((_, client) => client % living.length === i).length
      if (here > 0) member.load({ inFlight: here * inFlight, pause })
    })
  }

  /** Resolves once `count` more acknowledgements that satisfy `counts` have come in. */
  async acknowledgements(count, counts = () => true) {
    const seen = new Map(this.members.map(member => [member, member.acknowledged.length]))
    await until(`${count} more acknowledgements`, () => {
      const fresh = this.members.flatMap(member => member.acknowledged.slice(seen.get(member) ?? 0))
      return fresh.filter(counts).length >= count
    })
  }

  /** Stops the load, and holds every promise: what was acknowledged is applied everywhere, once, in one order. */
  async settle() {
    await Promise.all(this.living.map(member => member.ask('stop')))
    assert.deepEqual(
      this.living.flatMap(member => member.rejected),
      [],
      'a living node rejected calls'
    )
    assert.deepEqual(
      this.living.flatMap(member => member.faults),
      [],
      'a living node failed, or has diverged'
    )

    const [ledger, ...others] = await this.ledger()
    assert.deepEqual(ledger.faults, [], 'actions were applied twice')
    for (const other of others) assert.deepEqual(other, ledger, 'two nodes applied different actions')
    const { acknowledged } = this
    const lost = acknowledged.filter(({ thing }) => !contains(ledger, thing))
    assert.deepEqual(lost, [], 'acknowledged actions were lost')
    for (const member of this.living) {
      const results = (await member.ask('results')) ?? undefined
      assert.equal(results, ledger.results[member.origin], `${member.id} got other results than the log has`)
    }
    return { acknowledged: acknowledged.length, applied: ledger.count }
  }

  /** The ledger of each living member, once all have applied equally much. */
  async ledger() {
    const states = await Promise.all(this.living.map(member => member.ask('state')))
    const count = Math.max(...states.map(state => state.count))
    return Promise.all(this.living.map(member => member.ask('ledger', count)))
  }

  async close() {
    await Promise.all(this.living.map(member => member.close()))
  }

  /** For `t.after`: whatever happened, nothing is left running. */
  async kill() {
    await Promise.all(this.living.map(member => member.kill()))
  }
}

/** One node in a process of its own, as this process sees it. */
class Member {
  #child
  #questions = new Map()

  constructor(options, env) {
    this.id = options.id
    /** Names this process in the ledger; another one may have the same id. */
    this.origin = options.origin
    this.acknowledged = []
    this.rejected = []
    this.warnings = []
    /** Why it failed or has diverged. */
    this.faults = []
    this.leader = null
    /** Once the process has its node: when, and what `getState()` gave at once, or the code of its error. */
    this.opened = null
    this.#child = fork(path.join(__dirname, 'cluster-node.js'), [JSON.stringify(options)], {
      env: { ...process.env, ...env, NODE_TEST_CONTEXT: undefined }
    })
    this.#child.on('message', message => this.#hear(message))
    this.#child.once('exit', () => {
      for (const end of this.#questions.values()) end({ error: { message: 'the process has ended' } })
      this.#questions.clear()
    })
  }

  get isAlive() {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** What ended it, if a signal did. */
  get signal() {
    return this.#child.signalCode
  }

  get pid() {
    return this.#child.pid
  }

  tell(message) {
    // Callers that wait for an answer of a process hear that it has ended.
    this.#child.send(message, () => {})
  }

  /** Rejects with what the verb rejects with. */
  ask(verb, argument) {
    const question = randomUUID()
    const { promise, resolve, reject } = withResolvers()
    const limit = setTimeout(() => reject(new Error(`${this.id} did not answer \`${verb}\``)), PATIENCE_MS)
    this.#questions.set(question, ({ answer, error }) => {
      clearTimeout(limit)
      if (error) reject(Object.assign(new Error(`${this.id}, ${verb}: ${error.message}`), error))
      else resolve(answer)
    })
    this.tell({ verb, question, argument })
    return promise
  }

  /** Makes `inFlight` calls at a time until the message to stop, with `pause` milliseconds between two. */
  load({ inFlight = 50, pause = 0 } = {}) {
    this.tell({ verb: 'load', inFlight, pause })
  }

  async close() {
    this.tell({ verb: 'close' })
    await this.#ends('close()')
  }

  /** SIGTERM, on which the process closes its node; resolves when the process has ended. */
  async terminate() {
    this.#child.kill('SIGTERM')
    await this.#ends('SIGTERM')
  }

  async #ends(cause) {
    await until(`${this.id} to end after ${cause}`, () => !this.isAlive)
    assert.equal(this.#child.exitCode, 0, `${this.id} ended with exit code ${this.#child.exitCode}`)
  }

  /** kill -9; resolves with the time at which the signal was sent. */
  async kill() {
    const at = Date.now()
    const gone = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await gone
    return at
  }

  pause() {
    this.#child.kill('SIGSTOP')
  }

  resume() {
    this.#child.kill('SIGCONT')
  }

  #hear(message) {
    if (message.question) {
      this.#questions.get(message.question)(message)
      this.#questions.delete(message.question)
    }
    if (message.opened) this.opened = message.opened
    if (message.acknowledged) this.acknowledged.push(...message.acknowledged)
    if (message.rejected) this.rejected.push(message.rejected)
    if (message.warning) this.warnings.push(message.warning)
    if (message.fault) this.faults.push(message.fault)
    if (message.leader !== undefined) this.leader = message.leader
  }
}

/** Resolves when `holds()`; rejects, naming what was awaited, if that takes too long. */
async function until(what, holds, patience = PATIENCE_MS) {
  const deadline = Date.now() + patience
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`waited ${patience / 1000} s for ${what}`)
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}

/** The p-quantile of numbers. */
function quantile(numbers, p) {
  const sorted = numbers.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))]
}

function withResolvers() {
  const resolvers = {}
  resolvers.promise = new Promise((resolve, reject) => Object.assign(resolvers, { resolve, reject }))
  return resolvers
}

module.exports = { Cluster, quantile, until }
