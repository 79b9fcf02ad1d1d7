/**
 * Shows what becomes of the others when one process blocks its event loop.
 */
'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')

const { startRedisServer } = require('../scripts/redis-server')
const { Cluster } = require('./cluster')

const LONG_MS = 5000
const SHORT_MS = 200

async function clusterUnderLoad(t) {
  const redis = await startRedisServer()
  t.after(() => redis.kill())
  const cluster = new Cluster(redis.url)
  t.after(() => cluster.kill())
  const leader = await cluster.leader()
  const others = cluster.members.filter(member => member !== leader)
  for (const other of others) other.load({ inFlight: 10, pause: 5 })
  await cluster.acknowledgements(100)
  return { cluster, leader, others }
}

test('a leader that blocks its event loop for long transfers leadership, and the others are served again', async t => {
  const { cluster, leader, others } = await clusterUnderLoad(t)
  const start = Date.now()
  const blocked = leader.ask('block', LONG_MS)
  await cluster.acknowledgements(100, ({ at, leader: id }) => at > start && id !== leader.id)
  const resumed = others.flatMap(other => other.acknowledged).filter(entry => entry.leader !== leader.id)
  const pause = Math.min(...resumed.map(({ at }) => at)) - start
  t.diagnostic(`blocked for ${LONG_MS} ms; the others performed again after ${pause} ms`)
  assert.ok(pause < LONG_MS, 'they waited for it')
  await blocked
  await cluster.settle()
  await cluster.close()
})

test('a leader that blocks it shortly goes on leading', async t => {
  const { cluster, leader, others } = await clusterUnderLoad(t)
  const { term } = await others[0].ask('status')
  await leader.ask('block', SHORT_MS)
  await cluster.acknowledgements(100)
  const status = await others[0].ask('status')
  assert.deepEqual([status.leader, status.term], [leader.id, term])
  await cluster.settle()
  await cluster.close()
})
