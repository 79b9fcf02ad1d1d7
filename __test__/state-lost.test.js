/**
 * Holds that a cluster without storage which is founded again where another has just ended says so: its state is
 * gone, while every probe is content.
 */
'use strict'

const assert = require('node:assert/strict')
const { once } = require('node:events')
const test = require('node:test')
const { setTimeout: delay } = require('node:timers/promises')

const conflux = require('..')
const { startRedisServer } = require('../scripts/redis-server')
const { until } = require('./cluster')
const { makeProject } = require('./project')
const { Service } = require('./service')

const CODE = 'WARN_CONFLUX_STATE_LOST'
const IDS = ['a', 'b', 'c']
const skip = process.platform === 'win32'

async function startServices(t, env = {}) {
  const redis = await startRedisServer()
  t.after(() => redis.kill())
  const folder = makeProject(t)
  const start = ID => {
    const own = { REDIS: redis.url, CLUSTER_SIZE: '3', DRAIN_MS: '0', ID, ...env }
    return Service.start(t, folder, env.DATA ? { ...own, DATA: `${env.DATA}/${ID}` } : own)
  }
  const startAll = async ids => {
    const services = await Promise.all(ids.map(start))
    await Promise.all(services.map(service => service.ready()))
    return services
  }
  return { start, startAll }
}

function endAll(services, signal) {
  return Promise.all(
    services.map(({ child }) => {
      const exit = once(child, 'exit')
      child.kill(signal)
      return exit
    })
  )
}

const clusterOf = async service => (await service.request('GET', '/ready')).body.cluster
const saidBy = services => services.map(({ stderr }) => stderr).join('')

for (const [how, signal] of Object.entries({ killed: 'SIGKILL', closed: 'SIGTERM' })) {
  test(`processes that are all ${how} and start again warn of the state that is gone`, { skip }, async t => {
    const { startAll } = await startServices(t)
    const former = await startAll(IDS)
    assert.equal((await former[0].request('POST', '/apples')).status, 200)
    const cluster = await clusterOf(former[0])
    assert.equal(saidBy(former), '')
    await endAll(former, signal)

    const services = await startAll(IDS)
    assert.deepEqual((await services[0].request('GET', '/')).body, {})
    // All founders do; one that had to begin again joins the others, and has founded nothing.
    await until('the warning', () => saidBy(services).includes(CODE))
    assert.match(saidBy(services), new RegExp(`although .* belonged to cluster ${cluster} moments ago`))
  })
}

test('processes that restart one after the other keep the state, and none warns', { skip }, async t => {
  const { start, startAll } = await startServices(t)
  let services = await startAll(IDS)
  await services[0].request('POST', '/apples')
  const cluster = await clusterOf(services[0])
  for (const id of IDS) {
    await endAll([services.shift()], 'SIGTERM')
    const next = await start(id)
    await next.ready()
    services.push(next)
  }
  assert.deepEqual((await services[0].request('GET', '/')).body, { apples: 1 })
  assert.equal(await clusterOf(services[0]), cluster)
  assert.ok(!saidBy(services).includes(CODE))
})

test('with storage all come back with the state, and none warns', { skip }, async t => {
  const { startAll } = await startServices(t, { DATA: 'data' })
  const former = await startAll(IDS)
  await former[0].request('POST', '/apples')
  await endAll(former, 'SIGKILL')
  const services = await startAll(IDS)
  assert.deepEqual((await services[0].request('GET', '/')).body, { apples: 1 })
  assert.ok(!saidBy(services).includes(CODE))
})

const counter = {
  methods: { add: () => ({ n: 1 }) },
  reduce: (count = 0, action) => count + (action ? 1 : 0)
}

/** Opens a cluster of one, and gives what it warns of. */
async function openAndClose(channel, id) {
  const node = conflux({ id, clusterSize: 1, channel, ...counter })
  const warnings = []
  node.on('warning', warning => warnings.push(warning))
  await node.perform('add', [], 10_000)
  const { cluster } = node.status()
  // A warning comes with a tick of the core's clock; that there is none takes a while to see.
  await delay(300)
  await node.close()
  return { cluster, lost: warnings.filter(({ code }) => code === CODE) }
}

test('a process notices what it did itself, where Redis keeps nothing for it', async t => {
  const redis = await startRedisServer()
  t.after(() => redis.kill())
  await redis.command('ACL', 'SETUSER', 'few', 'on', '>pw', '-@all', '+publish', '+subscribe', '&conflux:*')
  for (const login of [{}, { username: 'few', password: 'pw' }]) {
    const channel = { name: 'redis', port: redis.port, channelName: `lost-${login.username}`, ...login }
    const first = await openAndClose(channel, 'a')
    assert.deepEqual(first.lost, [])
    const { cluster, lost } = await openAndClose(channel, 'a')
    assert.deepEqual(
      lost.map(({ cluster, former, ids }) => ({ cluster, former, ids })),
      [{ cluster, former: first.cluster, ids: ['a'] }]
    )
    // Another application may follow, or a cluster that is meant to be a new one.
    assert.deepEqual((await openAndClose(channel, 'b')).lost, [])
    assert.deepEqual(
      (await openAndClose({ ...channel, channelName: `${channel.channelName}-2` }, 'b')).lost,
      []
    )
  }
})
