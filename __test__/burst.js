/**
 * Runs processes that are given bursts of calls, and watches them meanwhile: elections, warnings, event loops,
 * memory.
 *
 * Called by the tests of costs and sizes. `burst-node.js` is what runs in each process.
 */
'use strict'

const { fork } = require('node:child_process')
const { randomUUID } = require('node:crypto')
const path = require('node:path')

const { until } = require('./cluster')

/** Far more than any burst takes here: nothing but a call that never ends waits for so long. */
const PATIENCE_MS = 120_000

class Burst {
  /**
   * Starts `size` processes that found one cluster.
   *
   * @param more.redisUrl none: over memory, which only a cluster of one can use.
   * @param more.heapMax of each process, in MiB.
   * @param more.application what `burst-node.js` takes beside the options of a node.
   */
  static async start(t, { size = 3, redisUrl, heapMax, application = {}, options = {} }) {
    const channel =
      redisUrl === undefined
        ? { name: 'memory' }
        : { name: 'redis', connectionString: redisUrl, channelName: `test-${randomUUID()}` }
    const common = { clusterSize: size, channel, state: 10, reducerMs: 0, subscriberMs: 0 }
    const burst = new Burst()
    burst.members = Array.from(
      { length: size },
      (_, i) => new Member({ ...common, ...options, ...application, id: `node-${i + 1}` }, heapMax)
    )
    t.after(() => burst.kill())
    await Promise.all(burst.members.map(member => member.ask('ready')))
    return burst
  }

  /** Resolves with `{ leader, followers }` once all agree on one. */
  async roles() {
    let leader
    await until('a leader that all agree on', async () => {
      const statuses = await Promise.all(this.members.map(member => member.ask('status')))
      const index = statuses.findIndex(({ role }) => role === 'leader')
      leader = this.members[index]
      return leader !== undefined && statuses.every(status => status.leader === leader.id)
    })
    return { leader, followers: this.members.filter(member => member !== leader) }
  }

  async term() {
    return Math.max(...(await this.askAll('status')).map(({ term }) => term))
  }

  askAll(verb, argument) {
    return Promise.all(this.members.map(member => member.ask(verb, argument)))
  }

  /**
   * Does something under watch. Resolves with `{ result, elections, warnings, watched, stalled }`; `stalled` is for how long
   * this process, which does nothing, was not given a processor: the others may not have been either.
   */
  async watch(act) {
    const before = await this.askAll('reset')
    const term = await this.term()
    const stalls = watchStalls()
    const result = await act()
    const elections = (await this.term()) - term
    const watched = (await this.askAll('watched')).map((facts, i) => ({
      ...facts,
      id: this.members[i].id,
      grown: facts.rss - before[i]
    }))
    const warnings = watched.flatMap(({ id, warnings }) => warnings.map(code => `${id}: ${code}`))
    return { result, elections, warnings, watched, stalled: stalls() }
  }

  async close() {
    await this.askAll('close')
    this.kill()
  }

  kill() {
    for (const member of this.members) member.kill()
  }
}

class Member {
  #child
  #questions = new Map()
  #asked = 0

  constructor(options, heapMax) {
    this.id = options.id
    this.#child = fork(path.join(__dirname, 'burst-node.js'), [JSON.stringify(options)], {
      env: { ...process.env, NODE_TEST_CONTEXT: undefined },
      execArgv: heapMax === undefined ? [] : [`--max-old-space-size=${Math.ceil(heapMax)}`]
    })
    this.#child.on('message', message => this.#end(message.question, message))
    this.#child.once('exit', (code, signal) => {
      const error = { message: `the process has ended: ${signal ?? code}` }
      for (const question of this.#questions.keys()) this.#end(question, { error })
    })
  }

  ask(verb, argument) {
    const question = ++this.#asked
    return new Promise((resolve, reject) => {
      const limit = setTimeout(() => this.#end(question, { error: { message: 'no answer' } }), PATIENCE_MS)
      this.#questions.set(question, ({ answer, error }) => {
        clearTimeout(limit)
        if (error) reject(Object.assign(new Error(`${this.id}, ${verb}: ${error.message}`), error))
        else resolve(answer)
      })
      this.#child.send({ verb, question, argument }, () => {})
    })
  }

  kill() {
    this.#child.kill('SIGKILL')
  }

  #end(question, message) {
    const end = this.#questions.get(question)
    this.#questions.delete(question)
    end?.(message)
  }
}

function watchStalls() {
  let seen = performance.now()
  let longest = 0
  const look = () => {
    const now = performance.now()
    longest = Math.max(longest, now - seen)
    seen = now
  }
  const timer = setInterval(look, 5)
  return () => {
    clearInterval(timer)
    look()
    return longest
  }
}

module.exports = { Burst }
