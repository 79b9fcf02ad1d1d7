// Shows what sessions promise: the log decides which nodes are present, a session ends when its process dies, closes or
// is frozen, and none comes back to life.

'use strict'

const assert = require('node:assert/strict')
const { fork } = require('node:child_process')
const { randomUUID } = require('node:crypto')
const { once } = require('node:events')
const path = require('node:path')
const test = require('node:test')

const conflux = require('..')
const { elected, makeFolder, openCluster, openNode, openOne, rejection, until } = require('./nodes')

const TIMEOUT_MS = 1500
/** What the end of a session may take beyond the timeout. */
const BEYOND_MS_MAX = 300
const CLOSED_MS_MAX = 50

const STARTED = '@@conflux/SESSION_STARTED'
const ENDED = '@@conflux/SESSION_ENDED'

const withSessions = {
  sessions: { timeout: TIMEOUT_MS },
  initialState: [],
  methods: {
    append: thing => ({ type: 'appended', thing }),
    look() {
      return { type: 'looked', caller: this.caller, sessions: this.sessions() }
    },
    swallow() {
      try {
        return { type: 'looked', caller: this.caller }
      } catch {
        return { type: 'looked', caller: null }
      }
    },
    forge: () => ({ type: ENDED, id: 'a', session: 1, reason: 'silent' })
  },
  reduce: (state, action) => [...state, action]
}

const present = node => node.status().sessions.map(({ id }) => id)

/** A process with a node. */
class Process {
  events = []
  commits = []
  #child
  #questions = new Map()

  constructor(t, options) {
    this.id = options.id
    this.#child = fork(path.join(__dirname, 'session-node.js'), [JSON.stringify(options)], {
      env: { ...process.env, NODE_TEST_CONTEXT: undefined }
    })
    this.#child.on('message', ({ event, commit, question, answer, error }) => {
      if (event) this.events.push(event)
      else if (commit) this.commits.push(commit)
      else this.#questions.get(question)?.(error ? Promise.reject(error) : answer)
    })
    t.after(() => this.signal('SIGKILL'))
  }

  ask(verb) {
    const question = randomUUID()
    return new Promise(resolve => {
      this.#questions.set(question, resolve)
      this.#child.send({ verb, question })
    })
  }

  signal(name) {
    this.#child.kill(name)
  }

  async die() {
    const exit = once(this.#child, 'exit')
    this.signal('SIGKILL')
    await exit
  }

  /** The commit of the end of a session. */
  async end(session) {
    let commit
    const isEnd = ({ action }) => action?.type === ENDED && action.session === session
    await until(`the end of session ${session}`, () => (commit = this.commits.find(isEnd)))
    return commit
  }
}

async function startProcesses(t, options = {}) {
  const channel = { name: 'local', channelName: randomUUID() }
  const all = ['a', 'b', 'c'].map(id => {
    const own = typeof options === 'function' ? options(id) : options
    return new Process(t, { id, clusterSize: 3, channel, sessions: { timeout: TIMEOUT_MS }, ...own })
  })
  let statuses
  await until('every node has a session', async () => {
    statuses = await Promise.all(all.map(one => one.ask('status')))
    return statuses.every(({ session, sessions }) => session !== null && sessions.length === 3)
  })
  const leader = all[statuses.findIndex(({ role }) => role === 'leader')]
  const session = new Map(all.map((one, i) => [one, statuses[i].session]))
  return { all, leader, followers: all.filter(one => one !== leader), session }
}

test('every member has a session, which the reducer sees at the same place on all nodes', async t => {
  const nodes = openCluster(t, 3, withSessions)
  await until('three sessions', () => nodes.every(node => present(node).length === 3))
  await nodes[0].perform('append', ['x'])
  await Promise.all(nodes.map(node => node.sync()))
  const [first, ...others] = nodes.map(node => node.getState())
  for (const other of others) assert.deepEqual(other, first)
  const starts = first.filter(({ type }) => type === STARTED)
  assert.deepEqual(starts.map(({ id }) => id).sort(), ['a', 'b', 'c'])
  assert.deepEqual(
    starts.map(({ session, reason }) => [session, reason]),
    [
      [1, 'joined'],
      [2, 'joined'],
      [3, 'joined']
    ]
  )
  assert.deepEqual(
    nodes[1].sessions(),
    starts.map(({ id, session }) => ({ id, session }))
  )
})

test('a method sees its caller and the sessions of the provisional state', async t => {
  const nodes = openCluster(t, 3, withSessions)
  await until('three sessions', () => nodes.every(node => present(node).length === 3))
  for (const node of nodes) {
    const { id, session } = node.status()
    const { caller, sessions } = await node.perform('look')
    assert.deepEqual(caller, { id, session })
    assert.deepEqual(sessions, node.sessions())
    assert.equal(node.caller, undefined, 'outside of a method')
  }
})

test('a newcomer that receives a snapshot knows the sessions, and has one', async t => {
  const channel = { name: 'memory', channelName: randomUUID() }
  const options = { clusterSize: 1, channel, ...withSessions, snapshot: { entries: 5 } }
  const node = openNode(t, { id: 'a', ...options })
  for (let i = 0; i < 30; i++) await node.perform('append', [i])
  await until('a snapshot', () => node.status().snapshotIndex > 0)
  const newcomer = openNode(t, { id: 'b', ...options })
  const [event] = await once(newcomer, 'session')
  assert.deepEqual(event, { session: 2, previous: null, reason: 'joined' })
  assert.deepEqual(newcomer.sessions(), [
    { id: 'a', session: 1 },
    { id: 'b', session: 2 }
  ])
  await newcomer.sync()
  assert.deepEqual(newcomer.getState(), node.getState())
})

test('without the option there are no actions, and asking for sessions is an error', async t => {
  const { sessions, ...options } = withSessions
  const node = openOne(t, options)
  await node.perform('append', ['x'])
  assert.deepEqual(node.getState(), [{ type: 'appended', thing: 'x' }])
  assert.throws(() => node.sessions(), { code: 'ERR_CONFLUX_NO_SESSIONS' })
  const { code, outcome } = await rejection(node.perform('look'))
  assert.deepEqual({ code, outcome }, { code: 'ERR_CONFLUX_NO_SESSIONS', outcome: 'refused' })
  assert.deepEqual([node.status().session, node.status().sessions], [null, []])
})

test('no method can forge the action of a session', async t => {
  const node = openOne(t, withSessions)
  const { code, outcome } = await rejection(node.perform('forge'))
  assert.deepEqual({ code, outcome }, { code: 'ERR_CONFLUX_RESERVED_TYPE', outcome: 'refused' })
})

test('a reducer that throws on a session is reported, and the session starts all the same', async t => {
  const warnings = []
  const node = openOne(t, {
    ...withSessions,
    reduce(state, action) {
      if (action.type === STARTED) throw new Error('I know no sessions')
      return [...state, action]
    }
  })
  node.on('warning', ({ code, method }) => warnings.push([code, method]))
  await until('a session', () => node.status().session === 1)
  await node.perform('append', ['x'])
  assert.deepEqual(node.getState(), [{ type: 'appended', thing: 'x' }])
  assert.deepEqual(warnings, [['WARN_CONFLUX_REDUCER_THREW', STARTED]])
})

test('invalid options are errors that say what was expected', () => {
  const options = { id: 'a', clusterSize: 1, channel: { name: 'memory' }, methods: {}, reduce: () => 0 }
  for (const [sessions, fault] of [
    [7, /"sessions" must be true or an object with "timeout", in milliseconds/],
    [{ timeout: '1s' }, /"sessions.timeout" must be an integer from 1 to 3600000/],
    [
      { timeout: 1499 },
      /"sessions.timeout" must be at least 3 times "electionTimeout.max" \(1500 ms\), got 1499/
    ],
    [{ timout: 2000 }, /"sessions.timout" is unknown; did you mean "timeout"\?|"sessions.timout" is unknown/]
  ]) {
    assert.throws(() => conflux({ ...options, sessions }), {
      code: 'ERR_CONFLUX_INVALID_OPTIONS',
      message: fault
    })
  }
})

test('sessions wait for members without the option, and say so', async t => {
  const warnings = []
  const { sessions, ...without } = withSessions
  const nodes = openCluster(t, 3, id => (id === 'b' ? without : withSessions))
  nodes[0].on('warning', warning => warnings.push(warning))
  await until('the warning', () => warnings.some(({ code }) => code === 'WARN_CONFLUX_SESSIONS_WAIT'))
  assert.deepEqual(warnings.find(({ code }) => code === 'WARN_CONFLUX_SESSIONS_WAIT').ids, ['b'])
  await nodes[0].perform('append', ['x'])
  assert.deepEqual(nodes[2].status().sessions, [])
  const { caller, sessions: seen } = await nodes[0].perform('look').catch(({ code }) => ({ caller: code }))
  const { leader } = await elected(nodes)
  if (leader === nodes[1]) assert.equal(caller, 'ERR_CONFLUX_NO_SESSIONS')
  else assert.deepEqual([caller, seen], [{ id: 'a', session: null }, []])
})

test('a node without the option does not join a cluster with sessions', async t => {
  const channel = { name: 'memory', channelName: randomUUID() }
  const node = openNode(t, { id: 'a', clusterSize: 1, channel, ...withSessions })
  await until('a session', () => node.status().session === 1)
  const { sessions, ...without } = withSessions
  const other = openNode(t, { id: 'b', clusterSize: 1, channel, ...without })
  const [error] = await once(other, 'error')
  assert.equal(error.code, 'ERR_CONFLUX_SESSIONS_REQUIRED')
  assert.deepEqual(present(node), ['a'])
})

test('kill -9 of an owner: its session ends within the timeout and a little more', async t => {
  const { followers, session } = await startProcesses(t)
  const [owner, other] = followers
  await owner.ask('acquire')
  const killedAt = Date.now()
  await owner.die()
  const { action, at } = await other.end(session.get(owner))
  assert.deepEqual([action.id, action.reason], [owner.id, 'silent'])
  const took = at - killedAt
  t.diagnostic(`the session ended ${took} ms after the kill, with a timeout of ${TIMEOUT_MS} ms`)
  assert.ok(took <= TIMEOUT_MS + BEYOND_MS_MAX, `${took} ms`)
  assert.equal((await other.ask('state')).owner, null)
})

test('close(): the session ends at once', async t => {
  const { followers, leader, session } = await startProcesses(t)
  const [owner] = followers
  const closedAt = Date.now()
  await owner.ask('close')
  const { action, at } = await leader.end(session.get(owner))
  assert.deepEqual([action.id, action.reason], [owner.id, 'closed'])
  t.diagnostic(`the session ended ${at - closedAt} ms after close()`)
  assert.ok(at - closedAt <= CLOSED_MS_MAX, `${at - closedAt} ms`)
})

test('close() of the leader: its session ends at once, too', async t => {
  const { followers, leader, session } = await startProcesses(t)
  const closedAt = Date.now()
  await leader.ask('close')
  const { at } = await followers[0].end(session.get(leader))
  t.diagnostic(`the session ended ${at - closedAt} ms after close()`)
  assert.ok(at - closedAt <= CLOSED_MS_MAX, `${at - closedAt} ms`)
})

test('a process that was frozen gets a session with a higher number', async t => {
  const { followers, session } = await startProcesses(t)
  const [frozen, other] = followers
  await frozen.ask('acquire')
  frozen.signal('SIGSTOP')
  await other.end(session.get(frozen))
  frozen.signal('SIGCONT')
  const former = session.get(frozen)
  await until('a new session', () => frozen.events.at(-1)?.session > former)
  const ended = frozen.events.find(({ previous }) => previous === former)
  assert.ok(ended.session === null ? ended.reason === 'silent' : ended.reason === 'returned')
  const [mine, theirs] = await Promise.all([frozen.ask('status'), other.ask('status')])
  assert.equal(mine.session, theirs.sessions.find(({ id }) => id === frozen.id).session)
  assert.equal((await frozen.ask('state')).owner, null)
})

test('a process that restarts with its log has a new session', async t => {
  const folder = makeFolder(t)
  const channel = { name: 'local', channelName: randomUUID() }
  const optionsOf = id => ({ channel, storage: { path: path.join(folder, id) } })
  const { followers, session } = await startProcesses(t, optionsOf)
  const [one, other] = followers
  await one.die()
  const again = new Process(t, {
    id: one.id,
    clusterSize: 3,
    sessions: { timeout: TIMEOUT_MS },
    ...optionsOf(one.id)
  })
  const { action } = await other.end(session.get(one))
  assert.equal(action.id, one.id)
  await until('a new session', () => again.events.at(-1)?.session > session.get(one))
  assert.ok(['restarted', 'silent'].includes(action.reason), action.reason)
  assert.equal(again.events.at(-1).previous, null, 'the session of the former process was never its own')
})
