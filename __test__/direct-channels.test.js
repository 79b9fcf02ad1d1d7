/**
 * The channels `local` and `tcp`: processes that reach each other directly form a cluster, survive the death of each of
 * them, find each other at new addresses, and refuse all other clients. Real processes, kill -9, and a ledger that is audited.
 */
'use strict'

const assert = require('node:assert/strict')
const { fork } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const net = require('node:net')
const path = require('node:path')
const test = require('node:test')
const { setTimeout: delay } = require('node:timers/promises')

const conflux = require('..')
const { freePorts } = require('../benches/ports')
const { Cluster, until } = require('./cluster')
const { elected, list, makeFolder, openNode, rejection } = require('./nodes')
const { makeProject } = require('./project')

const RESTARTS = Number(process.env.CONFLUX_RUNS ?? 3)

function folder(t) {
  const made = makeFolder(t)
  return made
}

/** The option `channel` of each node of a cluster, by its id: the nodes know the addresses of the first three. */
async function tcpChannels(extra = {}) {
  const ids = ['node-1', 'node-2', 'node-3', 'node-4']
  const addresses = (await freePorts(ids.length)).map(port => `127.0.0.1:${port}`)
  return id => ({ name: 'tcp', listen: addresses[ids.indexOf(id)], peers: addresses.slice(0, 3), ...extra })
}

const CHANNELS = {
  local: async t => ({ name: 'local', path: path.join(folder(t), 'channel') }),
  tcp: () => tcpChannels(),
  'tcp with a secret': () => tcpChannels({ secret: 'a secret of at least 16 bytes' })
}

for (const [name, channelOf] of Object.entries(CHANNELS)) {
  test(`over ${name}, killed processes lose nothing, and others take their place`, async t => {
    const cluster = new Cluster(undefined, { options: { channel: await channelOf(t) } })
    t.after(() => cluster.kill())
    await cluster.whole()
    cluster.load({ inFlight: 20 })
    await cluster.acknowledgements(200)

    const leader = await cluster.leader()
    await leader.kill()
    await cluster.acknowledgements(200)
    const newcomer = cluster.start('node-4')
    await cluster.whole()
    newcomer.load({ inFlight: 20 })
    await cluster.acknowledgements(200)
    const { acknowledged } = await cluster.settle()
    t.diagnostic(`${acknowledged} acknowledged, 0 lost`)
    await cluster.close()
  })
}

test('a cluster whose processes all come back with new addresses serves again', async t => {
  const ids = ['node-1', 'node-2', 'node-3']
  let addresses
  const draw = async () => (addresses = (await freePorts(ids.length)).map(port => `127.0.0.1:${port}`))
  // Each knows one other.
  const channel = id => {
    const i = ids.indexOf(id)
    return { name: 'tcp', listen: addresses[i], peers: [addresses[(i + 1) % ids.length]] }
  }
  await draw()
  const cluster = new Cluster(undefined, { folder: folder(t), options: { channel } })
  t.after(() => cluster.kill())
  const times = []
  for (let run = 0; run < RESTARTS; run++) {
    cluster.load({ inFlight: 5 })
    await cluster.acknowledgements(50)
    await cluster.kill()
    await draw()
    const members = ids.map(id => cluster.start(id))
    await until('all processes to have a node', () => members.every(({ opened }) => opened))
    const begin = Date.now()
    cluster.load({ inFlight: 5 })
    await cluster.acknowledgements(1)
    times.push(Date.now() - begin)
  }
  await cluster.acknowledgements(50)
  await cluster.settle()
  t.diagnostic(`${RESTARTS} restarts, first acknowledgement after ${Math.max(...times)} ms at most`)
  await cluster.close()
})

test('a node whose addresses are given by a function finds its cluster, and names the fault while it fails', async t => {
  const ports = await freePorts(2)
  const addresses = ports.map(port => `127.0.0.1:${port}`)
  let answer = () => Promise.reject(new Error('the registry is down'))
  const channels = [
    { name: 'tcp', listen: ports[0], peers: [] },
    { name: 'tcp', listen: ports[1], peers: () => answer() }
  ]
  const [, second] = channels.map((channel, i) =>
    openNode(t, { id: `node-${i}`, clusterSize: 2, channel, ...list })
  )
  const [warning] = await once(second, 'warning')
  assert.equal(warning.code, 'WARN_CONFLUX_CHANNEL_BROKEN')
  assert.equal(warning.cause, 'the function "channel.peers" threw: the registry is down')
  answer = () => ['not an address']
  const [still] = await once(second, 'warning')
  assert.match(still.cause, /must return an array of "host:port", got "not an address" at index 0$/)
  answer = async () => addresses
  await second.ready({ timeout: 20_000 })
  assert.equal(await second.perform('append', ['x']), 'x')
})

test('a node of another channel name, or with another secret, is refused, and both sides learn why', async t => {
  const [port, ...others] = await freePorts(3)
  const secret = 'a secret of at least 16 bytes'
  const open = (id, channel) =>
    openNode(t, { id, clusterSize: 1, channel: { name: 'tcp', peers: [], ...channel }, ...list })
  const node = open('a', { listen: port, secret })
  await node.ready()
  const { term } = node.status()
  const [strange, guessing] = [
    { listen: others[0], peers: [`127.0.0.1:${port}`], channelName: 'another', secret },
    { listen: others[1], peers: [`127.0.0.1:${port}`], secret: `${secret}, guessed` }
  ].map((channel, i) => open(`stranger ${i}`, channel))
  const refusal = async of => {
    for (;;) {
      const [warning] = await once(of, 'warning')
      if (warning.code === 'WARN_CONFLUX_PEER_REFUSED') return warning.cause
    }
  }
  const [first, second] = await Promise.all([refusal(strange), refusal(guessing)])
  assert.match(
    first,
    /^connecting to 127\.0\.0\.1:\d+: the node there belongs to the channel named "conflux"$/
  )
  assert.match(second, /^connecting to 127\.0\.0\.1:\d+: the node there has another `channel\.secret`$/)
  assert.equal(node.status().term, term)
  assert.deepEqual(
    node.status().members.map(({ id }) => id),
    ['a']
  )
})

test('bytes of clients that are no nodes change nothing', async t => {
  const [port] = await freePorts(1)
  const channel = { name: 'tcp', listen: port, peers: [], secret: 'a secret of at least 16 bytes' }
  const node = openNode(t, { id: 'a', clusterSize: 1, channel, ...list })
  await node.ready()
  const before = node.status()
  for (let i = 0; i < 200; i++) {
    const client = net.connect(port, '127.0.0.1').on('error', () => {})
    client.end(Buffer.from(Array.from({ length: i * 7 }, (_, at) => (at * i * 31) % 256)))
    if (i % 20 === 0) await once(client, 'close')
  }
  assert.equal(await node.perform('append', ['x']), 'x')
  const { term, members } = node.status()
  const ids = members => members.map(({ id, incarnation }) => ({ id, incarnation }))
  assert.deepEqual({ term, ids: ids(members) }, { term: before.term, ids: ids(before.members) })
})

test('two nodes of one process use the local channel, and a killed process leaves nothing that disturbs', async t => {
  const channel = { name: 'local', path: path.join(folder(t), 'channel') }
  const child = fork(path.join(__dirname, 'cluster-node.js'), [
    JSON.stringify({ id: 'killed', origin: 'killed', clusterSize: 1, channel })
  ])
  await until('its socket', () => fs.existsSync(channel.path) && fs.readdirSync(channel.path).length > 0)
  child.kill('SIGKILL')
  await once(child, 'exit')
  const nodes = ['a', 'b', 'c'].map(id => openNode(t, { id, clusterSize: 3, channel, ...list }))
  const { followers } = await elected(nodes)
  assert.equal(await followers[0].perform('append', ['x']), 'x')
  await until(
    'the socket of the killed process to be removed',
    () => fs.readdirSync(channel.path).length === 3
  )
  await Promise.all(nodes.map(node => node.close()))
  assert.deepEqual(fs.readdirSync(channel.path), [])
})

test('the workers of node:cluster serve without any further option', async t => {
  const file = path.join(makeProject(t), 'workers.js')
  fs.writeFileSync(
    file,
    `const cluster = require('node:cluster')
     if (cluster.isPrimary) for (let i = 0; i < 4; i++) cluster.fork({ NODE_ID: String(i) })
     else {
       const node = require('conflux')({
         id: process.env.NODE_ID,
         clusterSize: 4,
         channel: { name: 'local', channelName: 'workers of test ${process.pid}' },
         initialState: 0,
         methods: { add: n => n },
         reduce: (sum, n) => sum + n
       })
       node.subscribe(() => {
         if (node.getState() === 4) node.close().then(() => cluster.worker.disconnect())
       })
       node.perform('add', [1])
     }`
  )
  const child = fork(file, { env: { ...process.env, NODE_TEST_CONTEXT: undefined } })
  t.after(() => child.kill('SIGKILL'))
  const [code] = await once(child, 'exit')
  assert.equal(code, 0)
})

test('what is wrong in the options of a TCP channel is named, each fault at once', async () => {
  const open = channel => conflux({ id: 'a', clusterSize: 1, channel: { name: 'tcp', ...channel }, ...list })
  const faults = async channel => {
    const error = await rejection((async () => open(channel))())
    assert.equal(error.code, 'ERR_CONFLUX_INVALID_OPTIONS')
    return error.message
  }
  assert.match(await faults({}), /"channel\.listen" is required.*"channel\.peers" is required/s)
  assert.match(
    await faults({ listen: 'example.com:1', peers: [] }),
    /"channel\.listen" must be a port.*got "example\.com:1"/
  )
  assert.match(await faults({ listen: 70_000, peers: [] }), /"channel\.listen" must be a port/)
  assert.match(
    await faults({ listen: 0, peers: ['host'] }),
    /"channel\.peers" must be.*got "host" at index 0/
  )
  assert.match(await faults({ listen: 0, peers: 'a:1,b:2' }), /"channel\.peers" must be an array/)
  assert.match(await faults({ listen: 0, peers: [], advertise: '0.0.0.0:1' }), /others can connect to/)
  assert.match(
    await faults({ listen: 0, peers: ['10.0.0.1:1'], advertise: 'localhost:1' }),
    /"channel\.advertise" is "localhost:1".*\(10\.0\.0\.1:1\)/
  )
  assert.match(await faults({ listen: 0, peers: [], tls: {} }), /"channel\.tls\.cert" is required/)
  const files = { cert: '/no/such/cert.pem', key: '/no/such/key.pem', ca: '/no/such/ca.pem' }
  assert.match(
    await faults({ listen: 0, peers: [], tls: files }),
    /"channel\.tls\.cert" \(\/no\/such\/cert\.pem\): /
  )
  await delay(0)
})
