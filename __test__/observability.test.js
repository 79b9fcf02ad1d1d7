// Shows what a node tells of itself: to console and JSON, a logger, NODE_DEBUG, and diagnostics channels.

'use strict'

const assert = require('node:assert/strict')
const { AsyncLocalStorage } = require('node:async_hooks')
const { channel, tracingChannel } = require('node:diagnostics_channel')
const fs = require('node:fs')
const path = require('node:path')
const test = require('node:test')
const { inspect } = require('node:util')

const conflux = require('..')
const { cluster } = require('../testing')
const { elected, openCluster, openNode, openOne, rejection, runScript, until } = require('./nodes')
const { makeProject, runFile } = require('./project')

const sum = {
  initialState: 0,
  methods: { add: n => (n < 0 ? new Error('only up') : n || null) },
  reduce: (s, n) => s + n
}

test('JSON.stringify gives the status, and nothing of the state', async t => {
  const node = openOne(t, { initialState: 'a secret' })
  await node.ready()
  assert.deepEqual(JSON.parse(JSON.stringify({ node })), { node: JSON.parse(JSON.stringify(node.status())) })
  assert.doesNotMatch(JSON.stringify(node), /secret/)
  assert.deepEqual(
    Object.keys(node).filter(key => typeof node[key] !== 'function'),
    []
  )
})

test('util.inspect shows what matters on a glance, at any depth and at any time', async t => {
  const nodes = openCluster(t, 3, { initialState: 'a secret' })
  assert.match(inspect(nodes[0]), /^Node 'a' \{[^]*state: 'open'/)
  const { leader } = await elected(nodes)
  const text = inspect(leader)
  assert.match(text, /role: 'leader'/)
  assert.match(text, /members: \[ 'a', 'b', 'c' \]/)
  assert.doesNotMatch(text, /secret|#|EventEmitter|_events/)
  assert.match(inspect({ deep: { deeper: { deepest: leader } } }), /deepest: \[Node [abc]\] /)
  assert.match(inspect(leader, { colors: true }), /\x1b\[/)
  await leader.close()
  assert.match(inspect(leader), /state: 'closed'/)
  assert.match(`${inspect(new Map([[leader, 1]]))}`, /^Map\(1\) \{\n  Node '/)
})

test('a learner and a failed node are recognizable where they are shown', async t => {
  const options = { ...sum, clusterSize: 1, channel: { name: 'memory', channelName: 'seen' } }
  const first = openNode(t, { ...options, id: 'a' })
  await first.ready()
  const learner = openNode(t, { ...options, id: 'b' })
  await learner.ready()
  assert.match(inspect(learner), /members: \[ 'a', 'b \(learner\)' \]/)
  const namesake = conflux({ ...options, id: 'a' })
  await new Promise(resolve => namesake.on('error', resolve))
  assert.match(inspect(namesake), /state: 'failed',\n\s+failure: \{\n?\s*code: 'ERR_CONFLUX_DUPLICATE_ID'/)
})

/** Keeps what is logged. */
function makeLogger() {
  const lines = []
  const logger = Object.fromEntries(
    ['debug', 'info', 'warn', 'error'].map(level => [level, (...values) => lines.push([level, ...values])])
  )
  return { logger, lines }
}

test('a logger gets leader, role, members, snapshots, warnings, the end', async t => {
  const { logger, lines } = makeLogger()
  const node = openOne(t, { ...sum, snapshot: { entries: 1 }, logger })
  await node.ready()
  await node.perform('add', [1])
  const has = (level, message) => lines.some(line => line[0] === level && line[1] === message)
  await until('a snapshot and the members', () => lines.filter(([level]) => level === 'debug').length > 0)
  await until('the members', () => has('info', 'conflux node "a": members: joined: a'))
  await node.close()
  assert.ok(has('info', 'conflux node "a": this node is a leader'))
  assert.ok(has('info', 'conflux node "a": the leader is a'))
  assert.ok(has('debug', 'conflux node "a": a snapshot was taken'))
  assert.ok(has('info', 'conflux node "a": close'))
  for (const [, , facts] of lines) assert.equal(facts.node, 'a')
})

test('warnings and failures go to the logger instead of the process; listeners get them all the same', async () => {
  const script = listens => `
    const lines = []
    const logger = { debug() {}, info() {} }
    for (const level of ['warn', 'error']) logger[level] = (message, facts) => lines.push(level + ' ' + facts.code)
    const channel = { name: 'memory', channelName: 'lonely' }
    const lonely = conflux({ ...options, id: 'l', clusterSize: 2, channel, logger })
    const first = conflux(options)
    first.ready().then(() => {
      const second = conflux({ ...options, logger })
      if (${listens}) {
        lonely.on('warning', () => lines.push('heard a warning'))
        second.on('error', () => lines.push('heard an error'))
      }
      const wait = setInterval(() => {
        if (second.status().state !== 'failed' || !lines.some(line => line.startsWith('warn '))) return
        clearInterval(wait)
        console.log(lines.sort().join('; '))
        first.close()
        lonely.close()
      }, 5)
    })
  `
  const output = 'error ERR_CONFLUX_DUPLICATE_ID; '
  const quiet = await runScript(script(false))
  assert.deepEqual(quiet, { code: 1, stdout: `${output}warn WARN_CONFLUX_WAITING_FOR_NODES\n`, stderr: '' })
  const heard = await runScript(script(true))
  const expected = `${output}heard a warning; heard an error; warn WARN_CONFLUX_WAITING_FOR_NODES\n`
  assert.deepEqual(heard, { code: 0, stdout: expected, stderr: '' })
})

test('pino and bunyan get the facts first', async t => {
  for (const own of [{ bindings: () => ({}) }, { child() {}, fields: {} }]) {
    const { logger, lines } = makeLogger()
    const node = openOne(t, { ...sum, logger: { ...logger, ...own } })
    await node.ready()
    await until('a line', () => lines.length > 0)
    for (const [, facts, message] of lines)
      assert.deepEqual([facts.node, message.slice(0, 17)], ['a', 'conflux node "a":'])
  }
})

test('a logger that throws ends nothing; one that lacks a function is an invalid option', async () => {
  const { code, stdout } = await runScript(`
    let uncaught = 0
    process.on('uncaughtException', ({ message }) => (uncaught += message === 'of a logger'))
    const fail = () => { throw new Error('of a logger') }
    const node = conflux({ ...options, logger: { debug: fail, info: fail, warn: fail, error: fail } })
    node.perform('append', [1]).then(() => node.close()).then(() => setImmediate(() => console.log(uncaught > 0)))
  `)
  assert.deepEqual([code, stdout], [0, 'true\n'])
  const given = { ...sum, id: 'a', clusterSize: 1, channel: { name: 'memory' } }
  assert.throws(
    () => conflux({ ...given, logger: { info() {}, warn() {} } }),
    /"logger" must have the functions debug, error/
  )
  assert.throws(() => conflux({ ...given, logger: true }), /"logger" must have/)
})

test('NODE_DEBUG=conflux writes every call and change to stderr, and nothing without it', async t => {
  const file = path.join(makeProject(t), 'app.js')
  fs.writeFileSync(
    file,
    `const node = require('conflux')({
       id: 'a', clusterSize: 1, channel: { name: 'memory' },
       initialState: 0, methods: { add: n => n }, reduce: (sum, n) => sum + n
     })
     node.perform('add', [1])
       .then(() => node.perform('missing'))
       .catch(() => new Promise(resolve => node.perform('add', [2], resolve)))
       .then(() => node.close())`
  )
  assert.deepEqual(await runFile(file), { code: 0, output: '' })
  const { code, output } = await runFile(file, { env: { NODE_DEBUG: 'conflux' } })
  assert.equal(code, 0)
  const lines = output.split('\n').map(line => line.replace(/^CONFLUX \d+: /, ''))
  assert.ok(lines.includes('node "a": info: the leader is a'), output)
  assert.equal(lines.filter(line => /^node "a": `add` was committed after \d+\.\d ms$/.test(line)).length, 2)
  const refused = /^node "a": `missing` was refused after .* ms \(ERR_CONFLUX_UNKNOWN_METHOD: /
  assert.ok(lines.some(line => refused.test(line)))
})

/** Subscribes for the time of a test; resolves with what is published of these nodes. */
function listenTo(t, name, nodes) {
  const messages = []
  const listener = message => void (nodes.includes(message.node) && messages.push(message))
  channel(name).subscribe(listener)
  t.after(() => channel(name).unsubscribe(listener))
  return messages
}

const CALL = ['start', 'end', 'asyncStart', 'asyncEnd', 'error'].map(event => [
  event,
  `tracing:conflux:call:${event}`
])

test('a call is traced from its start to its outcome, with a promise or a callback', async t => {
  const node = openOne(t, sum)
  await node.ready()
  const log = []
  for (const [event, name] of CALL) {
    const listener = message => void (message.node === node && log.push([event, message]))
    channel(name).subscribe(listener)
    t.after(() => channel(name).unsubscribe(listener))
  }
  const taken = () =>
    log.splice(0).map(([event, { node: _, milliseconds, ...rest }]) => [event, rest.method, rest.outcome])

  assert.equal(await node.perform('add', [1]), 1)
  const { result, milliseconds, args, id } = log[0][1]
  assert.deepEqual([result, args, id, milliseconds >= 0], [1, [1], 'a', true])
  assert.deepEqual(
    taken().map(([event]) => event),
    ['start', 'end', 'asyncStart', 'asyncEnd']
  )

  assert.equal(await node.perform('add', [0]), undefined)
  assert.equal(taken().at(-1)[2], 'nothing')

  const error = await rejection(node.perform('add', [-1]))
  assert.equal(log[0][1].error, error)
  assert.match(error.stack, /observability\.test\.js/)
  assert.deepEqual(taken(), [
    ['start', 'add', 'refused'],
    ['end', 'add', 'refused'],
    ['error', 'add', 'refused'],
    ['asyncStart', 'add', 'refused'],
    ['asyncEnd', 'add', 'refused']
  ])

  const [failure, action] = await new Promise(resolve => node.perform('add', [2], (...both) => resolve(both)))
  assert.deepEqual([failure, action], [null, 2])
  assert.deepEqual(taken(), [
    ['start', 'add', 'committed'],
    ['end', 'add', 'committed'],
    ['asyncStart', 'add', 'committed'],
    ['asyncEnd', 'add', 'committed']
  ])

  await rejection(node.perform('add', 'no array'))
  assert.deepEqual(taken().at(-1), ['asyncEnd', 'add', 'not-applied'])
  await node.close()
  await rejection(node.perform('add', [1]))
  assert.deepEqual(taken().at(-1), ['asyncEnd', 'add', 'not-applied'])
})

test('a store that is bound to the start of a call is there until its end', async t => {
  const node = openOne(t, sum)
  const storage = new AsyncLocalStorage()
  const { start, asyncEnd } = tracingChannel('conflux:call')
  start.bindStore(storage, ({ method }) => ({ span: method }))
  const seen = []
  const listener = () => seen.push(storage.getStore()?.span)
  asyncEnd.subscribe(listener)
  t.after(() => {
    start.unbindStore(storage)
    asyncEnd.unsubscribe(listener)
  })
  await node.perform('add', [1])
  assert.deepEqual(seen, ['add'])
})

test('an unhandled rejection is seen as one, also when it is traced', async () => {
  const { stderr } = await runScript(`
    require('node:diagnostics_channel').channel('tracing:conflux:call:asyncEnd').subscribe(() => {})
    process.on('unhandledRejection', error => { console.error('unhandled', error.code); node.close() })
    const node = conflux(options)
    node.perform('missing')
  `)
  assert.equal(stderr, 'unhandled ERR_CONFLUX_UNKNOWN_METHOD\n')
})

test('elections, members, snapshots and warnings are published', async t => {
  const nodes = []
  const elections = listenTo(t, 'conflux:election', nodes)
  const memberships = listenTo(t, 'conflux:membership', nodes)
  const snapshots = listenTo(t, 'conflux:snapshot', nodes)
  const warnings = listenTo(t, 'conflux:warning', nodes)
  const c = await cluster(3, id => ({ ...sum, snapshot: { entries: 5 } }))
  t.after(() => c.close())
  nodes.push(...c.nodes)

  const leader = await c.leader()
  for (let i = 1; i <= 5; i++) await leader.perform('add', [i])
  await until('snapshots', () => new Set(snapshots.map(({ id }) => id)).size === 3)
  assert.deepEqual(new Set(snapshots.map(({ what }) => what)), new Set(['taken']))
  assert.ok(snapshots.every(({ characters, milliseconds }) => characters > 0 && milliseconds >= 0))
  await until('members', () => memberships.length === 3)
  assert.deepEqual(
    memberships.map(({ joined }) => joined),
    [1, 2, 3].map(() => ['a', 'b', 'c'])
  )

  await leader.close()
  const next = await c.leader()
  const { id, term } = next.status()
  await until('an election', () =>
    elections.some(one => one.node === next && one.role === 'leader' && one.term === term)
  )
  assert.ok(elections.some(one => one.node !== next && one.leader === id && one.role === 'follower'))
  await until('a farewell', () => memberships.some(({ left }) => left.includes(leader.status().id)))

  const [last] = c.nodes.filter(node => node !== leader && node !== next)
  c.crash(next)
  await until('a warning', () =>
    warnings.some(({ node, warning }) => node === last && warning.code === 'WARN_CONFLUX_QUORUM_LOST')
  )
})

test('a snapshot that is restored is published', async t => {
  const restored = []
  const listener = ({ what, index, characters }) =>
    void (what === 'restored' && restored.push([index > 0, characters]))
  const options = {
    ...sum,
    snapshot: { entries: 2 },
    clusterSize: 1,
    channel: { name: 'memory', channelName: 'restored' }
  }
  const first = openNode(t, { ...options, id: 'a' })
  for (let i = 0; i < 4; i++) await first.perform('add', [10])
  channel('conflux:snapshot').subscribe(listener)
  t.after(() => channel('conflux:snapshot').unsubscribe(listener))
  const second = openNode(t, { ...options, id: 'b' })
  await second.ready()
  assert.deepEqual(restored, [[true, 2]])
})
