/**
 * This file runs a cluster of OS processes over a real Redis and keeps the books: what was acknowledged, what was
 * applied.
 *
 * Called by the tests that kill processes or break Redis. `cluster-node.js` is what runs in each process.
 */
'use strict'

const assert = require('node:assert/strict')
const { fork } = require('node:child_process')
const { randomUUID } = require('node:crypto')
const { once } = require('node:events')
const path = require('node:path')

const PATIENCE_MS = 30_000

class Cluster {
  /** Starts `size` processes that found one cluster. */
  constructor(redisUrl, size = 3) {
    const channel = { name: 'redis', connectionString: redisUrl, channelName: `test-${randomUUID()}` }
    this.members = Array.from(
      { length: size },
      (_, i) => new Member({ id: `node-${i + 1}`, clusterSize: size, channel })
    )
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

  /** Every living member performs with `inFlight` outstanding until `settle()`. */
  load({ inFlight = 50 } = {}) {
    for (const member of this.living) member.tell({ verb: 'load', inFlight })
  }

  /** Resolves once `count` more acknowledgements that satisfy `counts` have come in. */
  async acknowledgements(count, counts = () => true) {
    const seen = this.members.map(member => member.acknowledged.length)
    await until(`${count} more acknowledgements`, () => {
      const fresh = this.members.flatMap((member, i) => member.acknowledged.slice(seen[i]))
      return fresh.filter(counts).length >= count
    })
  }

  /** Stops the load, and holds every promise: what was acknowledged is applied everywhere, once, in one order. */
  async settle() {
    await Promise.all(this.living.map(member => member.ask('stop')))
    const rejected = this.living.flatMap(member => member.rejected)
    assert.deepEqual(rejected, [], 'a living node rejected performs')

    const logs = await this.logs()
    for (const log of logs) assert.equal(new Set(log).size, log.length, 'an action was applied twice')
    for (const log of logs) assert.deepEqual(log, logs[0], 'two nodes applied different actions')
    const applied = new Set(logs[0])
    const lost = this.acknowledged.filter(({ thing }) => !applied.has(thing))
    assert.deepEqual(lost, [], 'acknowledged actions were lost')
    return { acknowledged: this.acknowledged.length, applied: applied.size }
  }

  /** What each living member has applied, once all have applied equally much. */
  async logs() {
    const longest = Math.max(...(await Promise.all(this.living.map(member => member.ask('count')))))
    return Promise.all(this.living.map(member => member.ask('log', longest)))
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

  constructor(options) {
    this.id = options.id
    this.acknowledged = []
    this.rejected = []
    this.warnings = []
    this.leader = null
    this.#child = fork(path.join(__dirname, 'cluster-node.js'), [JSON.stringify(options)], {
      env: { ...process.env, NODE_TEST_CONTEXT: undefined }
    })
    this.#child.on('message', message => this.#hear(message))
  }

  get isAlive() {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  tell(message) {
    this.#child.send(message)
  }

  ask(verb, argument) {
    const question = randomUUID()
    const { promise, resolve, reject } = withResolvers()
    const limit = setTimeout(() => reject(new Error(`${this.id} did not answer \`${verb}\``)), PATIENCE_MS)
    this.#questions.set(question, answer => {
      clearTimeout(limit)
      resolve(answer)
    })
    this.tell({ verb, question, argument })
    return promise
  }

  async close() {
    this.tell({ verb: 'close' })
    await until(`${this.id} to end after close()`, () => !this.isAlive)
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

  #hear(message) {
    if (message.question) {
      this.#questions.get(message.question)(message.answer)
      this.#questions.delete(message.question)
    }
    if (message.acknowledged) this.acknowledged.push(...message.acknowledged)
    if (message.rejected) this.rejected.push(message.rejected)
    if (message.warning) this.warnings.push(message.warning)
    if (message.leader !== undefined) this.leader = message.leader
  }
}

/** Resolves when `holds()`; rejects, naming what was awaited, if that takes too long. */
async function until(what, holds, patience = PATIENCE_MS) {
  const deadline = Date.now() + patience
  while (!holds()) {
    if (Date.now() > deadline) throw new Error(`waited ${patience / 1000} s in vain for ${what}`)
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}

function withResolvers() {
  const resolvers = {}
  resolvers.promise = new Promise((resolve, reject) => Object.assign(resolvers, { resolve, reject }))
  return resolvers
}

module.exports = { Cluster, until }
