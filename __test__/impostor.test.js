/**
 * Starts beside a cluster of processes what does not belong there: a second process with an id that is taken,
 * and one with another `clusterSize`. Each gets an error or a warning at once that says what is wrong, with both values; the cluster continues.
 */
'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')

const conflux = require('..')
const { startRedisServer } = require('../scripts/redis-server')
const { Cluster, until } = require('./cluster')
const { list, rejection } = require('./nodes')

async function clusterUnderLoad(t) {
  const redis = await startRedisServer()
  t.after(() => redis.kill())
  const cluster = new Cluster(redis.url)
  t.after(() => cluster.kill())
  await cluster.whole()
  cluster.load({ inFlight: 5, pause: 5 })
  await cluster.acknowledgements(100)
  const [, channelName] = (await redis.command('PUBSUB', 'CHANNELS', '*')).match(
    /^conflux:0:(test-[^:\r]+)\r$/m
  )
  const channel = { name: 'redis', connectionString: redis.url, channelName }
  return { cluster, channel }
}

async function assertGoesOn(cluster) {
  await cluster.acknowledgements(100)
  const { members } = await (await cluster.leader()).ask('status')
  assert.deepEqual(
    members.map(({ id }) => id),
    ['node-1', 'node-2', 'node-3']
  )
  await cluster.settle()
  await cluster.close()
}

test('a second process under an id that is alive is refused, and the cluster goes on', async t => {
  const { cluster, channel } = await clusterUnderLoad(t)
  const start = Date.now()
  const node = conflux({ ...list, id: 'node-2', clusterSize: 3, channel })
  t.after(() => node.close())
  const pending = rejection(node.perform('append', ['never']))
  const error = await new Promise(resolve => node.on('error', resolve))
  t.diagnostic(`refused after ${Date.now() - start} ms`)
  assert.equal(error.code, 'ERR_CONFLUX_DUPLICATE_ID')
  assert.match(error.message, /`node-2`: another live node of this cluster uses it/)
  const refused = await pending
  assert.equal(refused.code, 'ERR_CONFLUX_DUPLICATE_ID')
  assert.equal(refused.outcome, 'not-applied')
  await assertGoesOn(cluster)
})

test('a process with another clusterSize gets a warning with both, and is not admitted', async t => {
  const { cluster, channel } = await clusterUnderLoad(t)
  const start = Date.now()
  const node = conflux({ ...list, id: 'other', clusterSize: 5, channel })
  t.after(() => node.close())
  const warning = await new Promise(resolve => {
    node.on('warning', warning => warning.code === 'WARN_CONFLUX_OTHER_CLUSTER_SIZE' && resolve(warning))
  })
  t.diagnostic(`warned after ${Date.now() - start} ms`)
  assert.deepEqual([warning.theirs, warning.ours], [3, 5])
  await until('the members to be warned, too', () =>
    cluster.members.some(({ warnings }) =>
      warnings.some(({ code }) => code === 'WARN_CONFLUX_OTHER_CLUSTER_SIZE')
    )
  )
  assert.equal(node.status().cluster, null)
  await assertGoesOn(cluster)
})
