/**
 * This file shows that a process which is not what the cluster takes it for is refused, soon and with both values: a
 * second one with an id, one with another size.
 */
'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')

const { startRedisServer } = require('../scripts/redis-server')
const { Cluster, until } = require('./cluster')

const REFUSED_WITHIN_MS = 1000

/** What a process needs to start at all, on a busy machine, is not conflux's. */
async function refusedAfter(member, fact) {
  await until(`${member.id} to open its node`, () => member.opened !== null)
  await until('it to be refused', fact)
  return Date.now() - member.opened.at
}

async function runningCluster(t) {
  const redis = await startRedisServer()
  t.after(() => redis.kill())
  const cluster = new Cluster(redis.url)
  t.after(() => cluster.kill())
  await cluster.leader()
  cluster.load({ inFlight: 5, pause: 5 })
  await cluster.acknowledgements(50)
  return { redis, cluster }
}

test('a second process with the id of a living one ends, and the first one does not notice', async t => {
  const { cluster } = await runningCluster(t)
  const [first] = cluster.members
  const second = cluster.start(first.id)
  const after = await refusedAfter(second, () => second.faults.length > 0)
  t.diagnostic(`refused after ${after} ms`)
  const [{ code, message }] = second.faults
  assert.equal(code, 'ERR_CONFLUX_DUPLICATE_ID')
  assert.ok(message.includes(first.id), message)
  assert.ok(after <= REFUSED_WITHIN_MS, `refused only after ${after} ms`)
  await second.kill()
  await cluster.acknowledgements(50, ({ thing }) => thing.startsWith(`${first.origin}:`))
  await cluster.settle()
  await cluster.close()
})

test('a process with another clusterSize is not let in, and both values are told', async t => {
  const { cluster } = await runningCluster(t)
  const other = cluster.start('other', { clusterSize: 5 })
  const isTold = ({ code }) => code === 'WARN_CONFLUX_OTHER_CLUSTER_SIZE'
  const after = await refusedAfter(other, () => other.warnings.some(isTold))
  t.diagnostic(`told after ${after} ms`)
  const { message } = other.warnings.find(isTold)
  assert.match(message, /5/)
  assert.match(message, /3/)
  assert.ok(after <= REFUSED_WITHIN_MS, `told only after ${after} ms`)
  const { members } = await cluster.members[0].ask('status')
  assert.ok(!members.some(({ id }) => id === 'other'))
  await other.kill()
  await cluster.settle()
  await cluster.close()
})
