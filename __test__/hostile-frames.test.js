/**
 * An attacker who holds the Redis password: forged, cut, altered, repeated and foreign frames, ten thousand
 * a second, on the topics of a cluster under load. No process ends, no leader changes, nothing is lost or doubled.
 *
 * What it can't show: a frame that is forged without a fault is believed. A secret that signs frames is a feature that
 * conflux does not have. `CONFLUX_FRAMES=1000000` is the long form.
 */
'use strict'

const assert = require('node:assert/strict')
const { randomBytes, randomInt } = require('node:crypto')
const test = require('node:test')
const { setTimeout: delay } = require('node:timers/promises')

const { startRedisServer } = require('../scripts/redis-server')
const { Cluster, until } = require('./cluster')
const { BODY_OFFSET, CLUSTER_OFFSET, Listener, Publisher, seal } = require('./redis-client')

const FRAMES = Number(process.env.CONFLUX_FRAMES ?? 20_000)
const FRAMES_PER_SECOND = 10_000
/** A second of peace before each second of attack, so that both meet the same machine. */
const FRAMES_PER_ROUND = 10_000
const ROUND_MS = 1000
const RECORDED_MAX = 5_000
const SLICE_MS = 10

/** What is made of a frame that was recorded; `offset` is where the frame begins in the message. */
const ATTACKS = {
  'of noise': ({ payload }, offset) => {
    const noise = randomBytes(randomInt(payload.length))
    // Never the first letter of a frame: what looks like a sealed one is reported, and rightly.
    if (noise.length > offset) noise[offset] |= 0x80
    return noise
  },
  'of noise under a right checksum': ({ payload }, offset) => {
    const forged = Buffer.from(payload)
    randomBytes(forged.length - offset - BODY_OFFSET).copy(forged, offset + BODY_OFFSET)
    seal(forged.subarray(offset))
    return forged
  },
  cut: ({ payload }) => payload.subarray(0, randomInt(payload.length)),
  'with a bit flipped': ({ payload }, offset) => {
    const altered = Buffer.from(payload)
    altered[randomInt(offset, altered.length)] ^= 1 << randomInt(8)
    return altered
  },
  'cut, under a right checksum': ({ payload }, offset) => {
    const cut = Buffer.from(payload.subarray(0, randomInt(offset + BODY_OFFSET, payload.length)))
    seal(cut.subarray(offset))
    return cut
  },
  repeated: ({ payload }) => payload,
  'of another cluster': ({ payload }, offset) => {
    const foreign = Buffer.from(payload)
    randomBytes(16).copy(foreign, offset + CLUSTER_OFFSET)
    seal(foreign.subarray(offset))
    return foreign
  },
  'of another version': ({ payload }, offset) => {
    const other = Buffer.from(payload)
    other[offset + 2] = 9
    return other
  },
  'of conflux 1.x': () => Buffer.from('{"from":"n","data":{"type":"APPEND_ENTRIES","term":1e9,"entries":[]}}')
}
const KINDS = Object.keys(ATTACKS)

test(`${FRAMES} hostile frames at ${FRAMES_PER_SECOND} a second change nothing`, async t => {
  const redis = await startRedisServer({ password: 'known' })
  t.after(() => redis.kill())
  const attacker = { port: redis.port, password: 'known' }
  const cluster = new Cluster(redis.url)
  t.after(() => cluster.kill())
  await cluster.whole()
  const listener = new Listener(attacker, RECORDED_MAX)
  t.after(() => listener.close())
  cluster.load({ inFlight: 20 })
  await cluster.acknowledgements(300)
  await until('enough frames to be recorded', () => listener.heard.length === RECORDED_MAX)
  const recorded = listener.heard.filter(({ topic }) => !topic.endsWith(':echo'))
  const before = await positions(cluster)

  const publisher = await Publisher.connect(attacker)
  t.after(() => publisher.close())
  const calm = { acknowledged: 0, milliseconds: 0 }
  const disturbed = { acknowledged: 0, milliseconds: 0 }
  for (let count = 0; count < FRAMES; count += FRAMES_PER_ROUND) {
    await measure(cluster, calm, () => delay(ROUND_MS))
    const frames = Math.min(FRAMES_PER_ROUND, FRAMES - count)
    await measure(cluster, disturbed, () => attack(publisher, recorded, frames))
  }
  const [inPeace, underAttack] = [calm, disturbed].map(
    ({ acknowledged, milliseconds }) => (acknowledged * 1000) / milliseconds
  )
  t.diagnostic(`${FRAMES} frames in ${(disturbed.milliseconds / 1000).toFixed(1)} s`)
  t.diagnostic(
    `acknowledged a second: ${inPeace.toFixed(0)} in peace, ${underAttack.toFixed(0)} under attack`
  )
  t.diagnostic(`loss of throughput: ${(100 * (1 - underAttack / inPeace)).toFixed(1)} %`)

  assert.equal(cluster.living.length, 3, 'a process ended')
  await cluster.acknowledgements(300)
  assert.deepEqual(await positions(cluster), before, 'a node was elected, or started over')
  for (const { warnings } of cluster.members) {
    const codes = warnings.map(({ code }) => code).filter(code => code !== 'WARN_CONFLUX_WAITING_FOR_NODES')
    assert.deepEqual([...new Set(codes)], ['WARN_CONFLUX_OTHER_VERSION'])
    // Each version once: the one above, and those that one flipped bit makes of 1.
    assert.ok(codes.length <= 9, `${codes.length} warnings`)
  }
  await cluster.settle()
  await cluster.close()
})

/** Publishes so many frames at the pace; resolves once the server has published them. */
async function attack(publisher, recorded, frames) {
  const published = publisher.published
  const start = Date.now()
  for (let count = 0; count < frames;) {
    const due = Math.min(frames, Math.ceil(((Date.now() - start) * FRAMES_PER_SECOND) / 1000))
    const messages = []
    for (; count < due; count++) {
      const model = recorded[randomInt(recorded.length)]
      const forge = ATTACKS[KINDS[count % KINDS.length]]
      messages.push({ topic: model.topic, payload: forge(model, frameOffset(model.topic)) })
    }
    if (messages.length > 0) publisher.publish(messages)
    await delay(SLICE_MS)
  }
  await until('the server to have published all', () => publisher.published >= published + frames)
}

/** What is said to all begins with its sender's incarnation. */
function frameOffset(topic) {
  return topic.split(':').length === 3 ? 16 : 0
}

async function measure(cluster, sum, work) {
  const before = cluster.acknowledged.length
  const start = Date.now()
  await work()
  sum.acknowledged += cluster.acknowledged.length - before
  sum.milliseconds += Date.now() - start
}

/** Where each node stands in its cluster. */
async function positions(cluster) {
  const statuses = await Promise.all(cluster.living.map(member => member.ask('status')))
  return statuses.map(({ incarnation, cluster, role, leader, term }) => {
    return { incarnation, cluster, role, leader, term }
  })
}
