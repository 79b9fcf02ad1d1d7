/**
 * Shows that processes keep every promise over an application's own channel: one is killed, the relay between
 * them is replaced, and one of them is slow to send.
 */
'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')

const { startRelay } = require('./channels')
const { Cluster, until } = require('./cluster')

const overRelay = ({ port }, more) => ({ channel: { name: 'custom', port, ...more } })

async function open(t) {
  const relay = await startRelay()
  t.after(() => relay.close())
  const cluster = new Cluster(undefined, { options: overRelay(relay) })
  t.after(() => cluster.kill())
  return { relay, cluster }
}

test('kill -9 of the leader in mid-burst: nothing acknowledged is lost, and the survivors go on', async t => {
  const { cluster } = await open(t)
  const leader = await cluster.leader()
  cluster.load()
  await cluster.acknowledgements(500)
  await leader.kill()
  await cluster.acknowledgements(200, entry => entry.leader !== null && entry.leader !== leader.id)
  // A new process takes its place.
  const newcomer = cluster.start()
  await newcomer.ask('ready')
  newcomer.load()
  await cluster.acknowledgements(100, ({ thing }) => thing.startsWith(newcomer.origin))
  const { acknowledged } = await cluster.settle()
  t.diagnostic(`${acknowledged} acknowledged`)
  await cluster.close()
})

test('kill -9 of a follower: the others do not notice', async t => {
  const { cluster } = await open(t)
  const leader = await cluster.leader()
  cluster.load()
  await cluster.acknowledgements(200)
  await cluster.living.find(member => member !== leader).kill()
  await cluster.acknowledgements(500)
  await cluster.settle()
  await cluster.close()
})

test('a node whose `send` blocks for 15 ms delays its own calls; the others perform as before', async t => {
  const relay = await startRelay()
  t.after(() => relay.close())
  const cluster = new Cluster(undefined, { options: overRelay(relay) })
  t.after(() => cluster.kill())
  await cluster.leader()
  const slow = cluster.start('slow', overRelay(relay, { slow: 15 }))
  await slow.ask('ready')
  cluster.load({ inFlight: 5 })
  await cluster.acknowledgements(1000, ({ thing }) => !thing.startsWith('slow'))
  await cluster.acknowledgements(20, ({ thing }) => thing.startsWith('slow'))
  await cluster.settle()
  await cluster.close()
})

test('every connection is cut again and again under load: calls continue, and none is lost or doubled', async t => {
  const { relay, cluster } = await open(t)
  await cluster.leader()
  cluster.load()
  for (let cut = 0; cut < 5; cut++) {
    await cluster.acknowledgements(200)
    relay.cut()
  }
  await cluster.acknowledgements(200)
  await until('each has warned', () =>
    cluster.living.every(({ warnings }) =>
      warnings.some(({ code }) => code === 'WARN_CONFLUX_CHANNEL_BROKEN')
    )
  )
  const { acknowledged } = await cluster.settle()
  assert.ok(acknowledged >= 1200)
  await cluster.close()
})
