/**
 * A cluster of OS processes over the local channel, for the tests of clocks and timers: each process has a wall clock
 * that the test sets.
 */
'use strict'

const { fork } = require('node:child_process')
const { randomUUID } = require('node:crypto')
const { once } = require('node:events')
const path = require('node:path')

const { until } = require('./nodes')

class Coordinated {
  #options
  #reports

  /**
   * @param options those of every node.
   * @param settings.clockOffset gives, for an id, by how many milliseconds its wall clock is wrong.
   * @param settings.reports whether the processes report each commit.
   */
  constructor(t, options = {}, { size = 3, clockOffset = () => 0, reports = true } = {}) {
    this.#options = {
      clusterSize: size,
      channel: { name: 'local', channelName: `test-${randomUUID()}` },
      ...options
    }
    this.#reports = reports
    this.members = []
    t.after(() => Promise.all(this.living.map(member => member.kill())))
    for (let i = 0; i < size; i++) {
      const id = String.fromCharCode(97 + i)
      this.start(id, clockOffset(id))
    }
  }

  get living() {
    return this.members.filter(member => member.isAlive)
  }

  /** Of one that ended, with `folder` in the options: the same member. */
  start(id, clockOffset = 0) {
    const { folder, ...options } = this.#options
    const storage = folder && { path: path.join(folder, id) }
    const member = new Member({ ...options, id, storage, clockOffset, reports: this.#reports })
    this.members.push(member)
    return member
  }

  ready() {
    return Promise.all(this.living.map(member => member.ask('ready')))
  }

  /** The member that all living ones take for their leader. */
  async leader() {
    let leader
    await until('a leader that all know', async () => {
      const statuses = await Promise.all(this.living.map(member => member.ask('status')))
      const ids = new Set(statuses.map(status => status.leader))
      leader = ids.size === 1 ? this.living.find(member => ids.has(member.id)) : undefined
      return leader !== undefined
    })
    return leader
  }
}

class Member {
  /** What was committed, as this process saw it: `{ action, index, at, seen }`. */
  commits = []
  warnings = []
  faults = []
  #child
  #questions = new Map()

  constructor(options) {
    this.id = options.id
    this.#child = fork(path.join(__dirname, 'coordinated-node.js'), [JSON.stringify(options)], {
      env: { ...process.env, NODE_TEST_CONTEXT: undefined }
    })
    this.#child.on('message', message => this.#hear(message))
    this.#child.once('exit', () => {
      for (const { reject } of this.#questions.values()) reject(new Error(`${this.id} has ended`))
      this.#questions.clear()
    })
  }

  get isAlive() {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** Calls a verb of `coordinated-node.js`, or a function of its node. */
  ask(verb, ...args) {
    const question = randomUUID()
    return new Promise((resolve, reject) => {
      this.#questions.set(question, { resolve, reject })
      this.#child.send({ question, verb, args }, () => {})
    })
  }

  async kill() {
    const gone = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await gone
  }

  pause() {
    this.#child.kill('SIGSTOP')
  }

  resume() {
    this.#child.kill('SIGCONT')
  }

  #hear({ question, answer, error, commit, warning, fault }) {
    if (question !== undefined) {
      const { resolve, reject } = this.#questions.get(question)
      this.#questions.delete(question)
      if (error === undefined) resolve(answer)
      else reject(Object.assign(new Error(error.message), error))
    }
    if (commit !== undefined) this.commits.push(commit)
    if (warning !== undefined) this.warnings.push(warning)
    if (fault !== undefined) this.faults.push(fault)
  }
}

module.exports = { Coordinated }
