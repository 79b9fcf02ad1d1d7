/**
 * Shows that `await node.ready()` means caught up: under load a newcomer, and a node that comes back with its
 * disk, read right after it nothing older than what was acknowledged before they were started.
 *
 * CONFLUX_NEWCOMERS sets how many newcomers and how many restarts there are (default 4).
 */
'use strict'

const assert = require('node:assert/strict')
const { randomUUID } = require('node:crypto')
const test = require('node:test')

const { startRedisServer } = require('../scripts/redis-server')
const { contains } = require('./ledger')
const { Cluster } = require('./cluster')
const { elected, list, makeFolder, openCluster, openNode, rejection, until } = require('./nodes')

const NEWCOMERS = Number(process.env.CONFLUX_NEWCOMERS ?? 4)

function spin(milliseconds) {
  for (const end = performance.now() + milliseconds; performance.now() < end;);
}

/** The newest thing that each process acknowledged: a state that contains these contains all, because each process calls in order. */
function newest(cluster) {
  return cluster.members.flatMap(({ acknowledged }) => acknowledged.slice(-1)).map(({ thing }) => thing)
}

const lacking = (ledger, things) => things.filter(thing => !contains(ledger, thing))

test(`a newcomer under load is ready only when it has caught up, ${NEWCOMERS} times`, async t => {
  const redis = await startRedisServer()
  t.after(() => redis.kill())
  const cluster = new Cluster(redis.url)
  t.after(() => cluster.kill())
  await cluster.whole()
  cluster.load({ inFlight: 50 })
  await cluster.acknowledgements(2000)

  for (let i = 0; i < NEWCOMERS; i++) {
    const floor = newest(cluster)
    const newcomer = cluster.start()
    const ledger = await newcomer.ask('readyState')
    assert.deepEqual(lacking(ledger, floor), [], `newcomer ${i + 1} read ${ledger.count} actions`)
    await newcomer.close()
  }
  const { acknowledged } = await cluster.settle()
  t.diagnostic(
    `${NEWCOMERS} newcomers, 0 read less than was acknowledged before; ${acknowledged} acknowledged`
  )
  await cluster.close()
})

test(`a node that comes back with its disk likewise, ${NEWCOMERS} times, killed or closed`, async t => {
  const redis = await startRedisServer()
  t.after(() => redis.kill())
  const cluster = new Cluster(redis.url, {
    folder: makeFolder(t),
    options: { snapshot: { entries: 5000 } }
  })
  t.after(() => cluster.kill())
  await cluster.whole()
  cluster.load({ inFlight: 50 })
  await cluster.acknowledgements(2000)

  for (let i = 0; i < NEWCOMERS; i++) {
    const target = cluster.living[i % 3]
    if (i % 2 === 0) await target.kill()
    else await target.close()
    await cluster.acknowledgements(500)
    const floor = newest(cluster)
    const back = cluster.start(target.id)
    const ledger = await back.ask('readyState')
    assert.deepEqual(lacking(ledger, floor), [], `restart ${i + 1} read ${ledger.count} actions`)
    back.load({ inFlight: 50 })
    await cluster.whole()
  }
  const { acknowledged } = await cluster.settle()
  t.diagnostic(
    `${NEWCOMERS} restarts, 0 read less than was acknowledged before; ${acknowledged} acknowledged`
  )
  await cluster.close()
})

test('caughtUp and waitingFor say how far a newcomer is, and ready() goes with them', async t => {
  const slow = {
    reduce(state, action) {
      if (action !== null) spin(1)
      return list.reduce(state, action)
    },
    snapshot: { entries: 1_000_000 }
  }
  const channel = { name: 'memory', channelName: randomUUID() }
  const nodes = openCluster(t, 3, { channel, ...slow })
  const { leader } = await elected(nodes)
  await Promise.all(nodes.map(node => node.ready()))
  for (const node of nodes) assert.equal(node.status().caughtUp, true)
  await Promise.all(Array.from({ length: 300 }, (_, i) => leader.perform('append', [i])))
  await Promise.all(nodes.map(node => node.sync()))

  const newcomer = openNode(t, { id: 'd', clusterSize: 3, channel, ...list, ...slow })
  let isReady = false
  const ready = newcomer.ready().then(() => (isReady = true))
  assert.equal(newcomer.status().caughtUp, false)
  const seen = new Set()
  await until('the newcomer to have caught up', () => {
    const { caughtUp, waitingFor, leader, appliedIndex } = newcomer.status()
    seen.add(waitingFor === null ? null : waitingFor.replace(/\d+/g, 'N'))
    // The same moment for every caller.
    assert.equal(isReady && !caughtUp, false)
    if (caughtUp) {
      assert.equal(waitingFor, null)
      assert.ok(
        newcomer.getState().length >= 300,
        `${newcomer.getState().length} of 300, index ${appliedIndex}`
      )
    } else assert.equal(leader !== null && waitingFor === null, false, 'it does not say what it waits for')
    return caughtUp
  })
  await ready
  assert.ok(seen.has('catching up with the leader: N of N applied'), [...seen].join('; '))
  await newcomer.close()
  assert.equal(newcomer.status().caughtUp, false)
})

test('a newcomer that cannot catch up in time gets an error that says what is missing', async t => {
  const slow = {
    reduce(state, action) {
      if (action !== null) spin(5)
      return list.reduce(state, action)
    }
  }
  const channel = { name: 'memory', channelName: randomUUID() }
  const nodes = openCluster(t, 3, { channel })
  await elected(nodes)
  await Promise.all(Array.from({ length: 400 }, (_, i) => nodes[0].perform('append', [i])))
  const newcomer = openNode(t, { id: 'd', clusterSize: 3, channel, ...list, ...slow })
  await until('membership', () => newcomer.status().leader !== null)
  const error = await rejection(newcomer.ready({ timeout: 0 }))
  assert.equal(error.code, 'ERR_CONFLUX_TIMEOUT')
  assert.match(error.waitingFor, /^catching up with the leader: \d+ of \d+ applied$/)
  await newcomer.ready()
  assert.equal(newcomer.getState().length, 400)
})

test('sync() and ready() resolve on a node that comes back only when its state can be read', async t => {
  const folder = makeFolder(t)
  let cost = 0
  const open = () =>
    openNode(t, {
      id: 'a',
      clusterSize: 1,
      channel: { name: 'memory', channelName: folder },
      storage: { path: folder },
      methods: { add: n => n },
      reduce(sum = 0, n) {
        if (n !== null && cost > 0) spin(cost)
        return sum + (n ?? 0)
      }
    })
  const before = open()
  await before.ready()
  await Promise.all(Array.from({ length: 1000 }, () => before.perform('add', [1])))
  await before.close()

  cost = 0.3
  const after = open()
  assert.throws(() => after.getState(), { code: 'ERR_CONFLUX_NOT_READY' })
  const reads = [after.sync({ timeout: 30_000 }), after.ready(), after.perform('add', [0])].map(promise =>
    promise.then(() => after.getState())
  )
  assert.deepEqual(await Promise.all(reads), [1000, 1000, 1000])
})
