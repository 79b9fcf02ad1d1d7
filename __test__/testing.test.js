// Shows that `conflux/testing` opens, breaks and restores a cluster for an application's
// test, and says what it waits for.

'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const test = require('node:test')

const conflux = require('..')
const { cluster } = require('../testing')
const { elected, list, openNode, rejection, runScript, until } = require('./nodes')

const states = c => c.nodes.map(node => node.getState())

async function open(t, size = 3, options = list) {
  const c = await cluster(size, options)
  t.after(() => c.close())
  return c
}

test('a cluster resolves when its nodes have caught up; leader and settled resolve at once then', async t => {
  const c = await open(t)
  const statuses = c.nodes.map(node => node.status())
  assert.deepEqual(
    statuses.map(({ id, clusterSize, caughtUp }) => ({ id, clusterSize, caughtUp })),
    ['a', 'b', 'c'].map(id => ({ id, clusterSize: 3, caughtUp: true }))
  )
  const leader = await c.leader()
  assert.equal(leader.status().role, 'leader')
  assert.ok(c.nodes.includes(leader))
})

test('settled: every node has what any node performed, and no call is pending', async t => {
  const c = await open(t)
  for (let round = 1; round <= 50; round++) {
    for (const node of c.nodes) node.perform('append', [round])
    await c.settled()
    assert.deepEqual(
      states(c).map(state => state.length),
      [3 * round, 3 * round, 3 * round]
    )
    assert.deepEqual(
      c.nodes.map(node => node.status().pending),
      [0, 0, 0]
    )
  }
})

test('a crashed node does not announce its end; its calls end as unknown, and the others go on', async t => {
  const c = await open(t)
  const leader = await c.leader()
  const pending = leader.perform('append', ['on its way'])
  await Promise.resolve()
  c.crash(leader)
  assert.equal((await rejection(pending)).code, 'ERR_CONFLUX_CLOSED')
  assert.equal(leader.status().state, 'closed')
  const others = c.nodes.filter(node => node !== leader)
  // No farewell: they follow it until they miss it.
  assert.ok(others.every(node => node.status().leader === leader.status().id))

  const next = await c.leader()
  assert.notEqual(next, leader)
  await next.perform('append', ['x'])
  await c.settled()
  assert.deepEqual(others[0].getState(), others[1].getState())
  assert.equal(next.status().members.length, 3)
  assert.throws(() => c.crash(leader), { code: 'ERR_CONFLUX_INVALID_ARGUMENT', message: /has ended/ })
})

test('without a majority, leader and settled say what each node does', async t => {
  const c = await open(t)
  const leader = await c.leader()
  const [survivor, other] = c.nodes.filter(node => node !== leader)
  c.crash(leader)
  c.crash(other)
  const error = await rejection(c.settled({ timeout: 50 }))
  assert.equal(error.code, 'ERR_CONFLUX_TIMEOUT')
  for (const node of [leader, other]) assert.ok(error.message.includes(`${node.status().id} has crashed`))
  assert.ok(error.message.includes(`${survivor.status().id} follows`), error.message)
  assert.match(error.stack, /testing\.test\.js/)
  assert.equal((await rejection(c.leader({ timeout: 50 }))).code, 'ERR_CONFLUX_TIMEOUT')
})

const { NativeNode } = require('../binding.js')
/** An addon that was built from older sources lacks it. */
const skip = NativeNode.prototype.setIsolated === undefined && 'the addon cannot isolate nodes'

test(
  'an isolated leader commits nothing; the others elect another; restored, all agree',
  { skip },
  async t => {
    const c = await open(t)
    const former = await c.leader()
    await former.perform('append', ['before'])
    c.isolate(former)
    const lost = rejection(former.perform('append', ['lost'], { timeout: 1500 }))
    const next = await c.leader()
    assert.notEqual(next, former)
    await next.perform('append', ['kept'])
    await c.settled()
    assert.deepEqual(former.getState(), ['before'])
    assert.equal((await lost).outcome, 'unknown')
    assert.notEqual(former.status().role, 'leader')

    c.heal()
    await c.settled()
    const [first, ...rest] = states(c)
    assert.deepEqual(rest, [first, first])
    assert.ok(first.includes('kept'))
  }
)

test('an isolated follower misses what is committed, and gets it when it is restored', { skip }, async t => {
  const c = await open(t)
  const leader = await c.leader()
  const follower = c.nodes.find(node => node !== leader)
  c.isolate(follower)
  await leader.perform('append', ['x'])
  await c.settled()
  assert.deepEqual(follower.getState(), [])
  assert.equal(
    await rejection(follower.sync({ timeout: 100 })).then(error => error.code),
    'ERR_CONFLUX_NO_QUORUM'
  )
  c.heal()
  await c.settled()
  assert.deepEqual(follower.getState(), ['x'])
  // A second isolation is like the first; healing twice, or without isolation, is nothing.
  c.heal()
  c.isolate(follower)
  c.isolate(follower)
  c.heal()
  await c.settled()
})

test(
  'isolated from all: no call of any node is committed before the cluster is restored',
  { skip },
  async t => {
    const c = await open(t)
    for (const node of c.nodes) c.isolate(node)
    const calls = c.nodes.map((node, i) => node.perform('append', [i]))
    await until('no leader', () => c.nodes.every(node => node.status().role !== 'leader'))
    assert.deepEqual(states(c), [[], [], []])
    c.heal()
    await Promise.all(calls)
    await c.settled()
    assert.deepEqual(states(c)[0].toSorted(), [0, 1, 2])
  }
)

test('a cluster with an isolated node closes at once', { skip }, async t => {
  const c = await open(t)
  c.isolate(await c.leader())
  const pending = c.nodes.map(node => node.perform('append', ['x']).catch(error => error.code))
  await c.close()
  assert.ok(c.nodes.every(node => node.status().state === 'closed'))
  await Promise.all(pending)
})

test('clusters of one process do not meet, whatever they are called', async t => {
  const [one, two] = await Promise.all([open(t), open(t, 2)])
  await (await one.leader()).perform('append', ['one'])
  await Promise.all([one.settled(), two.settled()])
  assert.deepEqual([...states(one), ...states(two)], [['one'], ['one'], ['one'], [], []])
  assert.notEqual(one.channelName, two.channelName)
})

test('options of an application: what the cluster chooses is replaced, the rest is kept', async t => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'conflux-testing-'))
  const options = { ...list, id: 'x', clusterSize: 7, channel: { name: 'redis' }, version: '2' }
  const c = await open(t, 3, id => ({ ...options, storage: { path: path.join(folder, id) } }))
  assert.deepEqual(fs.readdirSync(folder).sort(), ['a', 'b', 'c'])
  assert.deepEqual(
    c.nodes[0].status().members.map(({ id, version }) => id + version),
    ['a2', 'b2', 'c2']
  )
  await c.close()
  fs.rmSync(folder, { recursive: true, maxRetries: 5 })
})

test('what is wrong is said at once, and leaves nothing open', async () => {
  assert.match((await rejection(cluster(3, { ...list, storag: {} }))).message, /did you mean "storage"/)
  for (const size of [0, 1.5, 100, '3', undefined]) {
    assert.equal((await rejection(cluster(size, list))).code, 'ERR_CONFLUX_INVALID_ARGUMENT')
  }
  const error = await rejection(
    cluster(2, {
      ...list,
      reduce: () => {
        throw new Error('no state')
      }
    })
  )
  assert.equal(error.code, 'ERR_CONFLUX_REDUCER')
  const { code } = await runScript(`
    const { cluster } = require(${JSON.stringify(path.join(__dirname, '..', 'testing.js'))})
    cluster(3, id => ({ ...options, version: id === 'c' ? 1 : '1' })).catch(error => console.error(error.message))
  `)
  assert.equal(code, 0)
})

test('a promise of a node, or a node of another cluster, is named as the fault', async t => {
  const [one, two] = await Promise.all([open(t, 1), open(t, 1)])
  assert.throws(() => one.crash(one.leader()), /a promise: `await` it/)
  assert.throws(() => one.crash(two.nodes[0]), /takes a node of this cluster/)
  assert.throws(() => one.isolate(undefined), { name: 'TypeError', code: 'ERR_CONFLUX_INVALID_ARGUMENT' })
  assert.match((await rejection(one.settled({ timeuot: 1 }))).message, /did you mean "timeout"/)
})

test('a node that closed by itself is not waited for, and one that leaves does not make its cluster wait', async t => {
  const c = await open(t)
  const leader = await c.leader()
  await leader.close()
  const next = await c.leader()
  await next.perform('append', ['x'])
  await c.settled()
  await next.close()
  const last = await c.leader()
  await last.perform('append', ['y'])
  await c.settled()
  assert.deepEqual(last.getState(), ['x', 'y'])
})

test('closed twice is closed once; a waiting call is rejected', async () => {
  const c = await cluster(2, list)
  c.crash(await c.leader())
  const waiting = rejection(c.leader())
  const closing = c.close()
  assert.equal(c.close(), closing)
  await closing
  assert.equal((await waiting).code, 'ERR_CONFLUX_CLOSED')
})

test('await using closes the cluster', { skip: Symbol.asyncDispose === undefined }, async () => {
  const c = await cluster(2, list)
  await c[Symbol.asyncDispose]()
  assert.ok(c.nodes.every(node => node.status().state === 'closed'))
})

test('a namesake on the same channel: the error names the channel, and what to do', async t => {
  const channel = { name: 'memory', channelName: 'shared by two tests' }
  const options = { ...list, id: 'a', clusterSize: 1, channel }
  const first = openNode(t, options)
  await elected([first])
  const second = conflux(options)
  const failure = await new Promise(resolve => second.on('error', resolve))
  assert.equal(failure.code, 'ERR_CONFLUX_DUPLICATE_ID')
  assert.match(failure.message, /"shared by two tests" of the memory channel.*`channelName`/)
  assert.equal(second.status().failure.message, failure.message)
})
