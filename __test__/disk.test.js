/**
 * Shows that with a storage a cluster outlives the kill of all its processes at once: started again from their
 * directories they have everything that was acknowledged, nothing twice, and serve soon.
 *
 * CONFLUX_CYCLES sets how often all are killed (default 3); how long they took to serve again is printed at the end.
 */
'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const test = require('node:test')

const { startRedisServer } = require('../scripts/redis-server')
const { contains } = require('./ledger')
const { Cluster, quantile } = require('./cluster')

const CYCLES = Number(process.env.CONFLUX_CYCLES ?? 3)
const SERVES_WITHIN_MS = 3000

/** Three processes with a storage, under load. */
async function durableCluster(t) {
  const redis = await startRedisServer()
  t.after(() => redis.kill())
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'conflux-'))
  // Often enough for many a kill to hit a snapshot.
  const cluster = new Cluster(redis.url, { folder, options: { snapshot: { entries: 1000 } } })
  t.after(async () => {
    await cluster.kill()
    fs.rmSync(folder, { recursive: true, force: true })
  })
  await cluster.leader()
  cluster.load()
  await cluster.acknowledgements(300)
  return cluster
}

/** Restarts the process of the member, and makes a call. */
function startAgain(cluster, member) {
  const again = cluster.start(member.id)
  again.load()
  return again
}

/** Holds that nothing can be read before the log is replayed, and then everything that was acknowledged there. */
async function assertReplays(again, before) {
  await again.ask('ready')
  assert.equal(again.opened.state, 'ERR_CONFLUX_NOT_READY')
  const ledger = await again.ask('state')
  const missing = before.acknowledged.filter(({ thing }) => !contains(ledger, thing))
  assert.deepEqual(missing, [], `${again.id} has lost what it had acknowledged`)
}

test(`all processes killed -9 under load and started from disk, ${CYCLES} times`, async t => {
  const cluster = await durableCluster(t)
  const times = []
  for (let cycle = 1; cycle <= CYCLES; cycle++) {
    await cluster.acknowledgements(Math.floor(Math.random() * 2000))
    const killed = cluster.living
    await cluster.kill()

    const started = killed.map(member => startAgain(cluster, member))
    await Promise.all(started.map((again, i) => assertReplays(again, killed[i])))
    await cluster.acknowledgements(100)
    const [, majorityUpAt] = started.map(({ opened }) => opened.at).sort((a, b) => a - b)
    const firstAt = Math.min(...started.flatMap(({ acknowledged }) => acknowledged.map(({ at }) => at)))
    times.push(Math.max(0, firstAt - majorityUpAt))
  }
  const { acknowledged } = await cluster.settle()
  const slowest = Math.max(...times)
  t.diagnostic(
    `${CYCLES} cycles, ${acknowledged} acknowledged, 0 lost, 0 doubled; from a majority being up to the first perform: ` +
      `p50 ${quantile(times, 0.5)} ms, max ${slowest} ms`
  )
  if (slowest > SERVES_WITHIN_MS) t.diagnostic(`over ${SERVES_WITHIN_MS} ms; all: ${times.join(', ')} ms`)
  await cluster.close()
})

test('one process killed -9 comes back as the member that it was', async t => {
  const cluster = await durableCluster(t)
  for (const kind of ['the leader', 'a follower']) {
    const leader = await cluster.leader()
    const target = kind === 'the leader' ? leader : cluster.living.find(member => member !== leader)
    const { incarnation } = await target.ask('status')
    await target.kill()
    await cluster.acknowledgements(300)

    const again = startAgain(cluster, target)
    await assertReplays(again, target)
    assert.equal((await again.ask('status')).incarnation, incarnation)
    await cluster.acknowledgements(100, ({ thing }) => thing.startsWith(`${again.origin}:`))
  }
  await cluster.settle()
  await cluster.close()
})

test('one process killed -9 whose directory is gone comes back as a new member', async t => {
  const cluster = await durableCluster(t)
  const target = cluster.living.at(-1)
  const { incarnation } = await target.ask('status')
  await target.kill()
  fs.rmSync(cluster.directory(target.id), { recursive: true })

  const again = startAgain(cluster, target)
  await again.ask('ready')
  assert.notEqual((await again.ask('status')).incarnation, incarnation)
  await cluster.whole()
  await cluster.acknowledgements(100, ({ thing }) => thing.startsWith(`${again.origin}:`))
  await cluster.settle()
  await cluster.close()
})

test('a process that is closed under load stays a member, and so does a cluster of which all are', async t => {
  const cluster = await durableCluster(t)
  const before = await cluster.incarnations()

  const [first] = cluster.living
  await first.terminate()
  await cluster.acknowledgements(300)
  await assertReplays(startAgain(cluster, first), first)
  await cluster.whole()
  await cluster.acknowledgements(300)

  const closed = cluster.living
  await Promise.all(closed.map(member => member.terminate()))
  await Promise.all(closed.map(member => assertReplays(startAgain(cluster, member), member)))
  await cluster.whole()
  assert.deepEqual(await cluster.incarnations(), before)
  await cluster.acknowledgements(300)
  await cluster.settle()
  await cluster.close()
})
