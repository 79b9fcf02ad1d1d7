/**
 * Kills, pauses and closes processes that hold locks, are present, serve and have caches; with real processes.
 */
'use strict'

const assert = require('node:assert/strict')
const { fork } = require('node:child_process')
const { randomUUID } = require('node:crypto')
const { once } = require('node:events')
const path = require('node:path')
const test = require('node:test')

const { until } = require('./nodes')

const TIMEOUT_MS = 1500
/** A grant after a death is not later than the session's timeout and this. */
const GRANT_MS_MAX = 300
const GRANT_AFTER_CLOSE_MS_MAX = 50

const options = { skip: process.platform === 'win32' && 'Windows has no signals to pause a process' }

/** Three processes with a node each. */
async function open(t, size = 3) {
  const channel = { name: 'local', channelName: randomUUID() }
  const shared = { clusterSize: size, channel, sessions: { timeout: TIMEOUT_MS } }
  const processes = Array.from({ length: size }, (_, i) => new Process({ id: 'abcdefgh'[i], ...shared }))
  t.after(() => Promise.all(processes.map(each => each.end())))
  await Promise.all(processes.map(each => each.ask('ready')))
  return processes
}

class Process {
  id
  lost = []
  sessions = []
  #child
  #questions = new Map()

  constructor(options) {
    this.id = options.id
    this.#child = fork(path.join(__dirname, 'recipe-node.js'), [JSON.stringify(options)], {
      env: { ...process.env, NODE_TEST_CONTEXT: undefined }
    })
    this.#child.on('message', ({ question, answer, error, lost, session }) => {
      if (lost) this.lost.push(lost)
      if (session) this.sessions.push(session)
      const pending = this.#questions.get(question)
      if (error) pending?.reject(Object.assign(new Error(error.message), error))
      else pending?.resolve(answer)
    })
  }

  ask(verb, ...args) {
    const question = randomUUID()
    return new Promise((resolve, reject) => {
      this.#questions.set(question, { resolve, reject })
      this.#child.send({ question, verb, args }, () => {})
    })
  }

  signal(name) {
    const at = Date.now()
    this.#child.kill(name)
    return at
  }

  async end() {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const gone = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await gone
  }
}

const isLeader = async each => (await each.ask('status')).role === 'leader'

/** `[leader, ...others]` */
async function byRole(processes) {
  const roles = await Promise.all(processes.map(isLeader))
  return [...processes.filter((_, i) => roles[i]), ...processes.filter((_, i) => !roles[i])]
}

for (const who of ['a follower', 'the leader']) {
  test(
    `the lock of ${who} that is killed passes to the next request within the session's timeout`,
    options,
    async t => {
      const [leader, follower, other] = await byRole(await open(t))
      const owner = who === 'the leader' ? leader : follower
      const { token } = await owner.ask('acquire', 'k')
      const next = other.ask('acquire', 'k')
      await until('the request waits', async () => (await other.ask('waiting', 'k')) === 1)
      const killedAt = owner.signal('SIGKILL')
      const grant = await next
      const milliseconds = grant.at - killedAt
      assert.ok(grant.token > token)
      // The timeout begins anew with another leader.
      const failover = who === 'the leader' ? 700 : 0
      assert.ok(milliseconds <= TIMEOUT_MS + GRANT_MS_MAX + failover, `granted after ${milliseconds} ms`)
    }
  )
}

test('the lock of a node that closes passes on at once', options, async t => {
  const [leader, owner, other] = await byRole(await open(t))
  for (const key of ['k', 'l']) await owner.ask('acquire', key)
  const next = [other.ask('acquire', 'k'), leader.ask('acquire', 'l')]
  await until(
    'the requests wait',
    async () => (await leader.ask('waiting', 'k')) + (await leader.ask('waiting', 'l')) === 2
  )
  const { at } = await owner.ask('close')
  for (const grant of await Promise.all(next)) {
    assert.ok(grant.at - at <= GRANT_AFTER_CLOSE_MS_MAX, `granted after ${grant.at - at} ms`)
  }
})

test(
  'an owner that is paused for longer than the timeout loses its lock, learns of it, and gets a new session',
  options,
  async t => {
    const [, owner, other] = await byRole(await open(t))
    await owner.ask('enter', 'ann', { n: 1 })
    await owner.ask('serve', 'web', { port: 1 })
    const { token } = await owner.ask('acquire', 'k')
    const next = other.ask('acquire', 'k')
    await until('the request waits', async () => (await other.ask('waiting', 'k')) === 1)
    owner.signal('SIGSTOP')
    const grant = await next
    assert.ok(grant.token > token)
    assert.deepEqual([await other.ask('list'), await other.ask('nodes', 'web')], [[], []])
    owner.signal('SIGCONT')
    await until('the former owner learns of it', () => owner.lost.length > 0)
    assert.deepEqual([owner.lost[0].key, owner.lost[0].code], ['k', 'ERR_CONFLUX_LOCK_LOST'])
    assert.equal(await owner.ask('isValid', 'k'), false)
    // What it had announced, it announces again.
    await until('it is present again', async () => (await other.ask('list')).length === 1)
    await until('it serves again', async () => (await other.ask('nodes', 'web')).length === 1)
    const [entry] = await other.ask('list')
    assert.deepEqual([entry.name, entry.data, entry.id], ['ann', { n: 1 }, owner.id])
    const last = owner.sessions.at(-1)
    assert.ok(last.session > last.previous, `session ${last.session} after ${last.previous}`)
    assert.equal(entry.session, last.session)
    // It takes a lock again, in its new session.
    await other.ask('release', 'k')
    assert.ok((await owner.ask('acquire', 'k')).token > grant.token)
  }
)

test('the request of a dead process does not hold up the queue', options, async t => {
  const [leader, owner, dead] = await byRole(await open(t))
  await owner.ask('acquire', 'k')
  dead.ask('acquire', 'k')
  await until('the first request waits', async () => (await owner.ask('waiting', 'k')) === 1)
  const next = leader.ask('acquire', 'k')
  await until('both wait', async () => (await leader.ask('waiting', 'k')) === 2)
  await dead.end()
  await owner.ask('release', 'k')
  // It may be granted to the dead process first, until its session ends.
  const releasedAt = Date.now()
  const grant = await next
  assert.ok(grant.at - releasedAt <= TIMEOUT_MS + GRANT_MS_MAX)
})

test(
  'an invalidation waits for every live process, and for a dead one until its session ends',
  options,
  async t => {
    const processes = await open(t)
    await Promise.all(processes.map(each => each.ask('join')))
    const [leader, dead, other] = await byRole(processes)
    await leader.ask('invalidate', ['x', 'y'])
    for (const each of processes) assert.deepEqual(await each.ask('forgotten'), [['x', 'y']])

    dead.signal('SIGSTOP')
    await assert.rejects(leader.ask('invalidate', ['z'], { timeout: 200 }), {
      code: 'ERR_CONFLUX_TIMEOUT',
      outcome: 'unknown'
    })
    const from = Date.now()
    await leader.ask('invalidate', 'w')
    assert.ok(Date.now() - from <= TIMEOUT_MS + GRANT_MS_MAX)
    assert.deepEqual(await other.ask('forgotten'), [['x', 'y'], ['z'], ['w']])
    // It was never gone: it forgets the same, and is waited for again.
    dead.signal('SIGCONT')
    await until('it has forgotten as much', async () => (await dead.ask('forgotten')).length === 3)
  }
)
