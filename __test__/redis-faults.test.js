/**
 * Breaks Redis under a running cluster in every way we know, and holds that nothing acknowledged is lost and
 * that calls continue within two seconds of its return.
 */
'use strict'

const assert = require('node:assert/strict')
const { randomBytes, randomUUID } = require('node:crypto')
const net = require('node:net')
const test = require('node:test')
const { setTimeout: delay } = require('node:timers/promises')

const conflux = require('..')
const { prepareRedisServer, startRedisServer } = require('../scripts/redis-server')
const { Cluster, until } = require('./cluster')

const RESUMES_WITHIN_MS = 2000

/** A cluster under load, with everything acknowledged at least once. */
async function clusterUnderLoad(t, redis) {
  const cluster = new Cluster(redis.url)
  t.after(() => cluster.kill())
  await cluster.leader()
  cluster.load({ inFlight: 20 })
  await cluster.acknowledgements(300)
  return cluster
}

/** Holds that calls continue in time after `heal`, and then everything else that is promised. */
async function assertHeals(t, cluster, heal) {
  const start = Date.now()
  await heal()
  const healedAt = Date.now()
  await cluster.acknowledgements(1, ({ at }) => at >= start)
  const resumedAfter = Math.max(0, Date.now() - healedAt)
  t.diagnostic(`calls resumed ${resumedAfter} ms after the return of Redis`)
  assert.ok(resumedAfter <= RESUMES_WITHIN_MS, `calls resumed only after ${resumedAfter} ms`)
  await cluster.acknowledgements(300)
  await cluster.settle()
  await cluster.close()
}

test('Redis is killed and restarted', async t => {
  const redis = await startRedisServer()
  t.after(() => redis.kill())
  const cluster = await clusterUnderLoad(t, redis)
  await redis.kill()
  await until('a warning that the channel is broken', () =>
    cluster.members.some(({ warnings }) =>
      warnings.some(({ code }) => code === 'WARN_CONFLUX_CHANNEL_BROKEN')
    )
  )
  await assertHeals(t, cluster, () => redis.start())
})

test('Redis is frozen for five seconds', async t => {
  const redis = await startRedisServer()
  t.after(() => redis.kill())
  const cluster = await clusterUnderLoad(t, redis)
  redis.freeze()
  await delay(5000)
  await assertHeals(t, cluster, () => redis.thaw())
})

test('Redis drops the connections of all its clients', async t => {
  const redis = await startRedisServer()
  t.after(() => redis.kill())
  const cluster = await clusterUnderLoad(t, redis)
  for (const type of ['pubsub', 'normal', 'pubsub']) {
    await redis.command('CLIENT', 'KILL', 'TYPE', type)
    await cluster.acknowledgements(100)
  }
  await assertHeals(t, cluster, () => redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub'))
})

test('garbage, cut and altered frames, and messages of conflux 1.x come in on our topics', async t => {
  const redis = await startRedisServer()
  t.after(() => redis.kill())
  const cluster = await clusterUnderLoad(t, redis)
  const topics = (await redis.command('PUBSUB', 'CHANNELS', '*'))
    .match(/^conflux.*$/gm)
    .map(topic => topic.trim())
  assert.ok(topics.length >= 4, `found only the topics ${topics}`)
  const traffic = await recordTraffic(redis, 64 * 1024)

  for (let i = 0; i < 500; i++) {
    const at = Math.floor(Math.random() * (traffic.length - 1000))
    const cut = Buffer.from(traffic.subarray(at, at + Math.floor(Math.random() * 1000)))
    const altered = Buffer.from(cut)
    if (altered.length > 0) altered[Math.floor(Math.random() * altered.length)] ^= 1 << (i % 8)
    const foreign = JSON.stringify({
      from: 'node-1',
      data: {
        sequence: i,
        data: { type: 'APPEND_ENTRIES', term: 1e9, leaderId: 'x', entries: [{ data: null }] }
      }
    })
    for (const message of [randomBytes(i), cut, altered, foreign, '']) {
      await redis.command('PUBLISH', topics[i % topics.length], message)
    }
  }

  assert.equal(cluster.living.length, 3, 'a process ended')
  await cluster.acknowledgements(300)
  await cluster.settle()
  await cluster.close()
})

test('Redis is absent at the start: the nodes say so, keep trying, and work when it comes', async t => {
  const redis = await prepareRedisServer()
  t.after(() => redis.kill())
  const cluster = new Cluster(redis.url)
  t.after(() => cluster.kill())
  cluster.load({ inFlight: 5 })
  await until('every node to warn', () =>
    cluster.members.every(({ warnings }) =>
      warnings.some(({ code }) => code === 'WARN_CONFLUX_CHANNEL_BROKEN')
    )
  )
  await redis.start()
  await cluster.acknowledgements(100)
  await cluster.settle()
  await cluster.close()
})

test('a wrong password is reported without the password, and the process lives', async t => {
  const redis = await startRedisServer({ password: 'right' })
  t.after(() => redis.kill())
  const node = conflux({
    id: randomUUID(),
    clusterSize: 1,
    channel: { name: 'redis', host: '127.0.0.1', port: redis.port, password: 'wrong-secret' },
    methods: {},
    reduce: (state = null) => state
  })
  const warning = await new Promise(resolve => {
    node.on('warning', warning => warning.code === 'WARN_CONFLUX_CHANNEL_BROKEN' && resolve(warning))
  })
  assert.match(warning.message, /WRONGPASS|invalid.*password/i)
  assert.doesNotMatch(warning.message, /wrong-secret/)
  await node.close()
})

/** Real frames as they pass, with Redis's own framing between them. */
function recordTraffic(redis, length) {
  return new Promise((resolve, reject) => {
    const chunks = []
    let size = 0
    const socket = net.connect(redis.port, '127.0.0.1', () => {
      socket.write('*2\r\n$10\r\nPSUBSCRIBE\r\n$8\r\nconflux*\r\n')
    })
    socket.once('error', reject)
    socket.on('data', chunk => {
      chunks.push(chunk)
      size += chunk.length
      if (size < length) return
      socket.destroy()
      resolve(Buffer.concat(chunks))
    })
  })
}
