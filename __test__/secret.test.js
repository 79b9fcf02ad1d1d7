/**
 * `channel.secret`: nodes with one secret form a cluster that only they can read and write to; others learn why they are
 * refused; keys are rotated under load. Real processes, a real Redis, and an attacker with its password.
 */
'use strict'

const assert = require('node:assert/strict')
const { randomBytes, randomInt, randomUUID } = require('node:crypto')
const { mkdtemp, rm } = require('node:fs/promises')
const { tmpdir } = require('node:os')
const path = require('node:path')
const test = require('node:test')
const { inspect } = require('node:util')
const { setTimeout: delay } = require('node:timers/promises')

const conflux = require('..')
const { startRedisServer } = require('../scripts/redis-server')
const { Cluster, until } = require('./cluster')
const { elected, list, openCluster, openNode, runScript } = require('./nodes')
const { Listener, Publisher } = require('./redis-client')

const FRAMES = Number(process.env.CONFLUX_SEALED_FRAMES ?? 20_000)
const FRAMES_PER_SLICE = 200
const RECORDED_MAX = 4_000

const [OLD, NEW, OTHER] = ['old', 'new', 'other'].map(id => ({
  id,
  secret: `${id}: ${'0123456789abcdef'.repeat(2)}`
}))

/** Where the fields of a sealed frame are (src/channel/sealed/header.rs). */
const VERSION_OFFSET = 2
const KEY_OFFSET = 3
const SENDER_OFFSET = 19
const COUNTER_OFFSET = 67
const HEADER_BYTES = 75

function sealedChannel(redis, secret) {
  return { name: 'redis', connectionString: redis.url, channelName: `test-${randomUUID()}`, secret }
}

async function redisServer(t, options) {
  const redis = await startRedisServer(options)
  t.after(() => redis.kill())
  return redis
}

function keyIds(status) {
  return Object.fromEntries(status.members.map(({ id, keyId }) => [id, keyId]))
}

test('nodes with one secret form a cluster, and nothing that they say is readable', async t => {
  const redis = await redisServer(t)
  const listener = new Listener({ port: redis.port, password: 'none is needed' }, 10_000)
  t.after(() => listener.close())
  const cluster = new Cluster(redis.url, { options: { channel: sealedChannel(redis, OLD.secret) } })
  t.after(() => cluster.kill())
  await cluster.whole()
  cluster.load({ inFlight: 5 })
  await cluster.acknowledgements(100)
  await until('frames to be recorded', () => listener.heard.length > 500)
  for (const { topic, payload } of listener.heard.filter(({ topic }) => !topic.endsWith(':echo'))) {
    assert.equal(payload.toString('latin1', frameOffset(topic), frameOffset(topic) + 2), 'cs')
    assert.ok(!payload.includes('append') && !payload.includes('node-1'), topic)
  }
  // The note of the members, which Redis keeps, is sealed as well.
  const keys = await redis.command('KEYS', 'conflux:*:members')
  const [, key] = /(conflux:\S+:members)/.exec(keys)
  const note = await redis.command('GET', key)
  assert.ok(note.includes('cn') && !note.includes('node-1'))
  const leader = await cluster.leader()
  const ids = Object.values(keyIds(await leader.ask('status')))
  assert.equal(new Set(ids).size, 1)
  assert.match(ids[0], /^[0-9a-f]{16}$/)
  await cluster.settle()
  await cluster.close()
})

for (const [name, ours, theirs, reason, text] of [
  ['no secret', OLD.secret, undefined, ['unsealed', 'sealed'], [/not sealed/, /sealed: their sender has/]],
  ['another secret', [OLD], [OTHER], ['unknownKey', 'unknownKey'], [/that this node does not have/]]
]) {
  test(`nodes with a secret and nodes with ${name} do not meet, and say why`, async t => {
    const redis = await redisServer(t)
    const channel = sealedChannel(redis, ours)
    const channels = [channel, channel, { ...channel, secret: theirs }]
    const warnings = channels.map(() => [])
    const nodes = channels.map((channel, i) => {
      const node = openNode(t, { ...list, id: `n${i}`, clusterSize: 3, channel })
      node.on('warning', warning => warnings[i].push(warning))
      return node
    })
    for (const [i, node] of nodes.entries()) {
      const side = i === 2 ? 1 : 0
      const mismatches = () => warnings[i].filter(({ code }) => code === 'WARN_CONFLUX_SECRET_MISMATCH')
      await until('the warning', () => mismatches().length > 0)
      assert.equal(mismatches()[0].reason, reason[side])
      assert.match(mismatches()[0].message, text[side] ?? text[0])
      await until('the status to say why', () => (text[side] ?? text[0]).test(node.status().waitingFor))
      await until('frames to be counted', () => node.status().droppedFrames[reason[side]] > 2)
      assert.equal(mismatches().length, 1, 'warned once')
      assert.equal(node.status().cluster, null)
    }
    const error = await nodes[0].ready({ timeout: 10 }).catch(error => error)
    assert.match(error.message, text[0])

    // With the same secret they form a cluster at once.
    nodes[2].setSecret(ours)
    await Promise.all(nodes.map(node => node.ready({ timeout: 20_000 })))
    await nodes[2].perform('append', ['together'])
  })
}

test('keys are rotated under load without a failed call, and a node that was away returns', async t => {
  const redis = await redisServer(t)
  const folder = await mkdtemp(path.join(tmpdir(), 'conflux-secret-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const options = { channel: sealedChannel(redis, [OLD]) }
  const cluster = new Cluster(redis.url, { folder, options })
  t.after(() => cluster.kill())
  await cluster.whole()
  cluster.load({ inFlight: 20 })
  await cluster.acknowledgements(200)

  const rotate = async secret => {
    for (const member of cluster.living) {
      await member.ask('setSecret', secret)
      await cluster.acknowledgements(50)
    }
  }
  await rotate([OLD, NEW])
  await cluster.members[2].kill()
  await rotate([NEW, OLD])
  const leader = await cluster.leader()
  await until('the members to seal with the new key', async () => {
    const ids = keyIds(await leader.ask('status'))
    return ids['node-1'] === 'new' && ids['node-2'] === 'new'
  })
  // It returns with the old key only, which the others still have.
  const back = cluster.start('node-3', { channel: { ...options.channel, secret: [OLD] } })
  await back.ask('ready')
  await cluster.whole()
  back.load({ inFlight: 20 })
  await until('its key to be seen', async () => {
    const status = await (await cluster.leader()).ask('status')
    return status.id === 'node-3' || keyIds(status)['node-3'] === 'old'
  })
  await back.ask('setSecret', [NEW])
  // Frames that it sealed before may still be under way; they arrive in order.
  await until('its new key to be seen by all', async () => {
    const statuses = await Promise.all(cluster.living.map(member => member.ask('status')))
    return statuses.every(status => keyIds(status)['node-3'] === 'new')
  })
  await rotate([NEW])
  await cluster.acknowledgements(200)
  for (const member of cluster.living) {
    const status = await member.ask('status')
    // Followers know it, too.
    assert.deepEqual(keyIds(status), { 'node-1': 'new', 'node-2': 'new', 'node-3': 'new' })
    const { unknownKey, forged, unsealed } = status.droppedFrames
    // The node that was away does not know the key of what is said to all.
    assert.deepEqual({ forged, unsealed }, { forged: 0, unsealed: 0 })
    if (member !== back) assert.equal(unknownKey, 0)
  }
  // `settle` asserts that no call of a living node was rejected.
  await cluster.settle()
  await cluster.close()
})

/** What is sent in place of a frame that was recorded: `{ payload, reason }`, by the name of the attack. */
const ATTACKS = {
  noise: model => randomBytes(randomInt(1, model.length)),
  altered: (model, offset) => {
    const altered = Buffer.from(model)
    altered[randomInt(offset + HEADER_BYTES, altered.length)] ^= 1 << randomInt(8)
    return altered
  },
  'with another header': (model, offset) => {
    const altered = Buffer.from(model)
    altered[randomInt(offset, offset + HEADER_BYTES)] ^= 1 << randomInt(8)
    return altered
  },
  // Each reason has an attack of its own: flipped bits of a header seldom hit its version or its key.
  'of another version': (model, offset) => {
    const altered = Buffer.from(model)
    altered[offset + VERSION_OFFSET] += 1
    return altered
  },
  'of another key': (model, offset) => {
    const altered = Buffer.from(model)
    randomBytes(8).copy(altered, offset + KEY_OFFSET)
    // Its sender is new too: a counter that was seen is refused before the key is looked up.
    randomBytes(16).copy(altered, offset + SENDER_OFFSET)
    return altered
  },
  'with another counter': (model, offset) => {
    const altered = Buffer.from(model)
    altered.writeBigUInt64BE(1n << 40n, offset + COUNTER_OFFSET)
    return altered
  },
  'of another sender': (model, offset) => {
    const altered = Buffer.from(model)
    randomBytes(16).copy(altered, offset + SENDER_OFFSET)
    return altered
  },
  cut: model => model.subarray(0, randomInt(model.length)),
  replayed: model => model,
  'for another node': model => model,
  unsealed: (model, offset) =>
    Buffer.concat([model.subarray(0, offset), Buffer.from('cx\x01'), randomBytes(40)])
}
const KINDS = Object.keys(ATTACKS)

test(`${FRAMES} frames of an attacker with the password of Redis have no effect, and are counted`, async t => {
  const redis = await redisServer(t, { password: 'known' })
  const attacker = { port: redis.port, password: 'known' }
  const channel = sealedChannel(redis, [OLD])
  // So long that a machine which stalls for a second is no reason for an election: what changes is the attacker's doing.
  const patience = { electionTimeout: { min: 5_000, max: 10_000 }, heartbeatInterval: 100 }
  const cluster = new Cluster(redis.url, { options: { ...patience, channel } })
  t.after(() => cluster.kill())
  // Another cluster with the same secret: what it says is foreign here.
  const foreign = new Cluster(redis.url, {
    options: { ...patience, channel: { ...channel, channelName: `${channel.channelName}-2` } }
  })
  t.after(() => foreign.kill())
  await cluster.whole()
  await foreign.whole()
  const listener = new Listener(attacker, RECORDED_MAX)
  t.after(() => listener.close())
  cluster.load({ inFlight: 10, pause: 1 })
  foreign.load({ inFlight: 10, pause: 1 })
  await until('enough frames to be recorded', () => listener.heard.length === RECORDED_MAX)
  await foreign.settle()
  await foreign.close()
  const recorded = listener.heard.filter(({ topic }) => !topic.endsWith(':echo'))
  const ours = topicsOf(recorded, channel.channelName)
  assert.ok(
    recorded.some(({ topic }) => !ours.includes(topic)),
    'frames of both clusters were recorded'
  )
  const before = await positions(cluster)

  const publisher = await Publisher.connect(attacker)
  t.after(() => publisher.close())
  const start = Date.now()
  for (let count = 0; count < FRAMES; count += FRAMES_PER_SLICE) {
    const messages = []
    for (let i = 0; i < FRAMES_PER_SLICE; i++) {
      const { topic, payload } = recorded[randomInt(recorded.length)]
      const kind = KINDS[(count + i) % KINDS.length]
      const isKept = ours.includes(topic) && kind !== 'for another node'
      const to = isKept ? topic : redirected(topic, ours)
      messages.push({ topic: to, payload: ATTACKS[kind](payload, frameOffset(topic)) })
    }
    publisher.publish(messages)
    await until('the server to have published them', () => publisher.published >= count + FRAMES_PER_SLICE)
  }
  t.diagnostic(`${FRAMES} frames in ${((Date.now() - start) / 1000).toFixed(1)} s`)

  assert.equal(cluster.living.length, 3, 'a process ended')
  await cluster.acknowledgements(100)
  assert.deepEqual(await positions(cluster), before, 'a node was elected, or started over')
  const counts = {}
  for (const member of cluster.members) {
    const { droppedFrames } = await member.ask('status')
    for (const [reason, count] of Object.entries(droppedFrames))
      counts[reason] = (counts[reason] ?? 0) + count
    const codes = member.warnings
      .map(({ code }) => code)
      .filter(code => code !== 'WARN_CONFLUX_WAITING_FOR_NODES')
    assert.deepEqual(codes.sort(), [
      // Once each, for forged frames, for unsealed ones and for those of another key.
      'WARN_CONFLUX_FORGED_FRAMES',
      'WARN_CONFLUX_SECRET_MISMATCH',
      'WARN_CONFLUX_SECRET_MISMATCH'
    ])
  }
  t.diagnostic(JSON.stringify(counts))
  for (const reason of ['unsealed', 'unknownKey', 'forged', 'replayed', 'misdirected', 'otherVersion']) {
    assert.ok(counts[reason] > 0, `none was counted as ${reason}`)
  }
  await cluster.settle()
  await cluster.close()
})

/** What is said to all begins with its sender's incarnation. */
function frameOffset(topic) {
  return topic.split(':').length === 3 ? 16 : 0
}

/** The topics of a channel: the one to all, where a settled cluster seldom publishes, and those that were recorded. */
function topicsOf(recorded, channelName) {
  const topics = recorded.map(({ topic }) => topic).filter(topic => topic.split(':')[2] === channelName)
  return [...new Set([`conflux:0:${channelName}`, ...topics])]
}

/** The same topic, or in its place one of the attacked cluster: to all if it was to all. */
function redirected(topic, ours) {
  const alike = ours.filter(own => frameOffset(own) === frameOffset(topic))
  return alike[randomInt(alike.length)]
}

async function positions(cluster) {
  const statuses = await Promise.all(cluster.living.map(member => member.ask('status')))
  return statuses.map(({ incarnation, cluster, role, leader, term }) => ({
    incarnation,
    cluster,
    role,
    leader,
    term
  }))
}

test('a secret works on the memory channel, and can be given later', async t => {
  const nodes = openCluster(t, 3, id => ({
    channel: { name: 'memory', channelName: `later-${t.name}`, secret: OLD.secret }
  }))
  const { leader } = await elected(nodes)
  await leader.perform('append', ['a'])
  for (const node of nodes) node.setSecret([OLD, NEW])
  for (const node of nodes) node.setSecret([NEW])
  await leader.perform('append', ['b'])
  await until('the new key', () => Object.values(keyIds(leader.status())).every(id => id === 'new'))
  assert.equal(leader.status().droppedFrames.forged, 0)

  const plain = openCluster(t, 1)
  assert.equal((await elected(plain)).leader.status().members[0].keyId, null)
  plain[0].setSecret(OLD.secret)
  await plain[0].perform('append', ['sealed from here on'])
  assert.match(plain[0].status().members[0].keyId, /^[0-9a-f]{16}$/)
  await plain[0].close()
  assert.throws(() => plain[0].setSecret(OLD.secret), { code: 'ERR_CONFLUX_CLOSED' })
})

const INVALID = [
  ['', /must be a non-empty string/],
  [7, /must be a non-empty string, or a list of keys/],
  [{ id: 'a', secret: 'tops3cret' }, /must be a non-empty string, or a list of keys/],
  [[], /or a list of keys/],
  ['\ud800tops3cret', /must be a non-empty string/],
  [['tops3cret'], /secret\[0\]" must be an object: \{ id, secret \}/],
  [[{ id: 'a' }], /secret\[0\]\.secret" must be a non-empty string/],
  [[{ secret: 'tops3cret' }], /secret\[0\]\.id" must be a non-empty string/],
  [[{ id: 'x'.repeat(65), secret: 'tops3cret' }], /id" must have at most 64 bytes/],
  [[OLD, { ...NEW, id: 'old' }], /secret\[1\]\.id" is the id of another key, too/],
  [[{ ...OLD, sceret: 'tops3cret' }], /secret\[0\]\.sceret" is unknown; did you mean "secret"/]
]

test('an invalid secret is refused with its place and without its text', async t => {
  const [node] = openCluster(t, 1)
  for (const [secret, message] of INVALID) {
    const channel = { name: 'memory', channelName: randomUUID(), secret }
    for (const [call, code] of [
      [() => conflux({ ...list, id: 'a', clusterSize: 1, channel }), 'ERR_CONFLUX_INVALID_OPTIONS'],
      [() => node.setSecret(secret), 'ERR_CONFLUX_INVALID_ARGUMENT']
    ]) {
      assert.throws(call, error => {
        assert.equal(error.code, code)
        assert.match(error.message, message)
        assert.ok(!inspect(error, { depth: 9 }).includes('tops3cret'))
        return true
      })
    }
  }
  for (const nothing of [undefined, null]) assert.throws(() => node.setSecret(nothing), /non-empty string/)
})

test('no description of a node contains its secret', async t => {
  const secret = [{ id: 'shown', secret: 'tops3cret-0123456789' }]
  const logged = []
  const log = (...values) => logged.push(inspect(values, { depth: 9 }))
  const channel = { name: 'memory', channelName: randomUUID(), secret }
  const node = openNode(t, {
    ...list,
    id: 'a',
    clusterSize: 1,
    channel,
    logger: { debug: log, info: log, warn: log, error: log }
  })
  await node.ready()
  node.setSecret([{ id: 'next', secret: 'tops3cret-9876543210' }, ...secret])
  await node.perform('append', ['x'])
  const shown = inspect(node, { depth: 9, showHidden: true }) + JSON.stringify(node) + logged.join()
  assert.ok(shown.includes('next'))
  assert.ok(!shown.includes('tops3cret'))
})

test('a short secret is accepted with a warning', async t => {
  const [node] = openCluster(t, 1, {
    channel: { name: 'memory', channelName: randomUUID(), secret: 'tops3cret' }
  })
  const warning = await new Promise(resolve => node.on('warning', resolve))
  assert.deepEqual([warning.code, warning.bytes], ['WARN_CONFLUX_WEAK_SECRET', 9])
  assert.ok(!warning.message.includes('tops3cret'))
  node.on('warning', warning => assert.equal(warning, undefined))
  node.setSecret(OLD.secret)
  await delay(5)
})

test('a channel without a secret that leaves the machine is warned of, once per process', async () => {
  const channels = [
    { host: 'redis.example' },
    { host: 'redis.example' },
    { host: 'redis.example', channelName: 'another' },
    { connectionString: 'rediss://user:tops3cret@10.0.0.7:7000' },
    { connectionString: 'redis://[2001:db8::1]:7000' },
    { host: 'with.secret', secret: 'tops3cret-0123456789' },
    {},
    { host: 'localhost' },
    { host: '127.0.0.2' },
    { host: '::1' },
    { connectionString: 'redis://localhost:7000' },
    { connectionString: 'redis://[::1]' },
    { connectionString: 'unix:///run/redis.sock' }
  ]
  const { stdout, stderr } = await runScript(`
    const nodes = ${JSON.stringify(channels)}.map((channel, i) => {
      const node = conflux({ ...options, id: 'n' + i, channel: { name: 'redis', ...channel } })
      node.on('warning', ({ code, message, host, channelName }) => {
        if (code === 'WARN_CONFLUX_UNAUTHENTICATED') console.log(i, channelName, host, message)
      })
      return node
    })
    setTimeout(() => process.exit(), 100)
  `)
  const found = stdout
    .trim()
    .split('\n')
    .map(line => line.split(' ').slice(0, 3).join(' '))
  assert.deepEqual(found, [
    '0 conflux redis.example',
    '2 another redis.example',
    '3 conflux 10.0.0.7',
    '4 conflux [2001:db8::1]'
  ])
  assert.ok(!(stdout + stderr).includes('tops3cret'))
})
