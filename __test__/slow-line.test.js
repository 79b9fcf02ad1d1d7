/**
 * Puts a newcomer, and a member that was away, behind a slow line while the cluster is written to: each gets the
 * state once and the log behind it, and keeps its channel.
 *
 * CONFLUX_LINE_MB (default 4) is the size of the state, CONFLUX_LINE_MBIT (default 8) what the line carries a second.
 * CONFLUX_LINE_TIMED=1 holds the time as well, which says something only of a machine that does nothing else.
 */
'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const test = require('node:test')

const { Line } = require('../nemesis/line')
const { startRedisServer } = require('../scripts/redis-server')
const { Cluster, until } = require('./cluster')

const STATE_BYTES = Number(process.env.CONFLUX_LINE_MB ?? 4) * 1e6
const BYTES_PER_SECOND = (Number(process.env.CONFLUX_LINE_MBIT ?? 8) * 1e6) / 8
const IS_TIMED = process.env.CONFLUX_LINE_TIMED === '1'
const LINE_MS = (STATE_BYTES / BYTES_PER_SECOND) * 1000
/** What the event loops of the node and of this test add to a short time. */
const GRACE_MS = 2000
const PATIENCE_MS = 3 * LINE_MS + 60_000

/** Several come while the state travels. */
const SNAPSHOT_ENTRIES = 300
const LOAD = { inFlight: 3, pause: 5 }
/** Who lags by less has caught up: that is in flight. */
const LEVEL_ENTRIES = 200

async function open(t) {
  const redis = await startRedisServer()
  t.after(() => redis.kill())
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'conflux-'))
  const options = { snapshot: { entries: SNAPSHOT_ENTRIES }, ballast: STATE_BYTES }
  const cluster = new Cluster(redis.url, { folder, options })
  const line = await Line.start(() => redis.port)
  line.limit({ down: BYTES_PER_SECOND })
  t.after(async () => {
    await cluster.kill()
    line.end()
    fs.rmSync(folder, { recursive: true, force: true })
  })
  await cluster.leader()
  cluster.load(LOAD)
  await cluster.acknowledgements(3 * SNAPSHOT_ENTRIES)
  return { cluster, line }
}

/** Waits until the member has everything, and holds what was promised against it. */
async function arrive(t, { cluster, line }, member) {
  const other = cluster.living.find(one => one !== member)
  let begun
  const texts = new Set()
  await until(
    `${member.id} to have everything`,
    async () => {
      const [{ waitingFor, appliedIndex }, { commitIndex }] = await Promise.all(
        [member, other].map(one => one.ask('status'))
      )
      if (waitingFor !== null) texts.add(waitingFor)
      if (waitingFor?.startsWith('receiving')) begun ??= Date.now()
      return waitingFor === null && appliedIndex > 0 && commitIndex - appliedIndex < LEVEL_ENTRIES
    },
    PATIENCE_MS
  )
  const time = Date.now() - begun
  t.diagnostic(
    `${STATE_BYTES / 1e6} MB over ${(BYTES_PER_SECOND * 8) / 1e6} Mbit/s: all after ${time} ms, ` +
      `${(line.bytes / 1e6).toFixed(1)} MB sent`
  )
  const progress = [...texts].filter(text => /^receiving the state: \d+\.\d of \d+\.\d MB$/.test(text))
  assert.ok(progress.length > 3, `it says how far it is: ${[...texts].join('; ')}`)
  assert.deepEqual(
    member.warnings.filter(({ code }) => code === 'WARN_CONFLUX_CHANNEL_BROKEN'),
    []
  )
  assert.ok(line.bytes <= 1.5 * STATE_BYTES, `${line.bytes} bytes were sent for a state of ${STATE_BYTES}`)
  if (IS_TIMED)
    assert.ok(
      time <= 1.5 * LINE_MS + GRACE_MS,
      `it took ${time} ms, and the line ${LINE_MS} ms for the state`
    )
  await cluster.settle()
  await cluster.close()
}

test('a newcomer on a slow line', async t => {
  const world = await open(t)
  const newcomer = world.cluster.start('newcomer', {}, { redisUrl: world.line.url })
  await arrive(t, world, newcomer)
})

test('a member that was away for too long, and comes back on a slow line', async t => {
  const world = await open(t)
  const { cluster, line } = world
  const leader = await cluster.leader()
  const away = cluster.members.find(member => member !== leader)
  await away.kill()
  const { commitIndex } = await leader.ask('status')
  const others = cluster.living
  await until(
    'all logs to begin later',
    async () => {
      const statuses = await Promise.all(others.map(member => member.ask('status')))
      return statuses.every(({ snapshotIndex }) => snapshotIndex > commitIndex + SNAPSHOT_ENTRIES)
    },
    PATIENCE_MS
  )
  const back = cluster.start(away.id, {}, { redisUrl: line.url })
  await arrive(t, world, back)
})
