/**
 * Keeps one of three processes diverged for good while the others continue, and holds that its log and its
 * memory stay as theirs.
 *
 * CONFLUX_DIVERGED_ACTIONS sets how many actions the others perform (default 20000); memory is held from 500000 on.
 */
'use strict'

const assert = require('node:assert/strict')
const { fork } = require('node:child_process')
const { randomUUID } = require('node:crypto')
const path = require('node:path')
const test = require('node:test')

const { startRedisServer } = require('../scripts/redis-server')
const { until } = require('./nodes')

const ACTIONS = Number(process.env.CONFLUX_DIVERGED_ACTIONS ?? 20_000)
const IN_FLIGHT = 500
const SNAPSHOT_ENTRIES = 1000
/** Behind the last snapshot of its own, which comes a little later than that of others, and what is kept before it. */
const ENTRIES_MAX = 5 * SNAPSHOT_ENTRIES
const MEMORY_HELD_FROM_ACTIONS = 500_000
const MEMORY_MAX = 1.15

test(`a node stays diverged for ${ACTIONS} actions: its log and memory are as the others'`, async t => {
  const redis = await startRedisServer()
  t.after(() => redis.kill())
  const channel = { name: 'redis', connectionString: redis.url, channelName: randomUUID() }
  const members = ['a', 'b', 'c'].map(id => {
    const options = { id, clusterSize: 3, channel, snapshot: { entries: SNAPSHOT_ENTRIES } }
    const child = fork(path.join(__dirname, 'diverged-node.js'), [JSON.stringify(options)])
    t.after(() => child.kill('SIGKILL'))
    const ask = question =>
      new Promise(resolve => {
        child.once('message', resolve)
        child.send(question)
      })
    return { id, ask }
  })
  const [a, b] = members
  const report = () => Promise.all(members.map(member => member.ask({ what: 'report' })))
  await Promise.all(members.map(member => member.ask({ what: 'ready' })))
  await a.ask({ what: 'lead' })

  // Restored the first time, it stays diverged the second.
  await b.ask({ what: 'diverge' })
  await until('it to stay diverged', async () => {
    await a.ask({ what: 'perform', count: 10, inFlight: 10 })
    const { divergences, status } = await b.ask({ what: 'report' })
    return divergences === 2 && status.diverged !== null
  })
  const started = performance.now()
  let entriesMax = 0
  for (let performed = 0; performed < ACTIONS; performed += 10_000) {
    await a.ask({ what: 'perform', count: Math.min(10_000, ACTIONS), inFlight: IN_FLIGHT })
    const { status } = await b.ask({ what: 'report' })
    entriesMax = Math.max(entriesMax, status.lastIndex - status.snapshotIndex)
  }
  const seconds = (performance.now() - started) / 1000
  await until('its log to be short', async () => {
    const { status } = await b.ask({ what: 'report' })
    return status.lastIndex - status.snapshotIndex <= ENTRIES_MAX
  })
  const [leader, diverged, other] = await report()
  assert.ok(diverged.status.diverged !== null && diverged.divergences === 2, 'it stays diverged')
  const megabytes = ({ rss }) => Math.round(rss / 2 ** 20)
  t.diagnostic(
    `${ACTIONS} actions in ${Math.round(seconds)} s: its log had at most ${entriesMax} entries behind its snapshot; ` +
      `memory ${megabytes(diverged)} MiB, the leader's ${megabytes(leader)} MiB, the other's ${megabytes(other)} MiB`
  )
  assert.ok(entriesMax <= 3 * ENTRIES_MAX, `its log had ${entriesMax} entries`)
  if (ACTIONS >= MEMORY_HELD_FROM_ACTIONS) {
    assert.ok(
      diverged.rss <= MEMORY_MAX * Math.max(leader.rss, other.rss),
      'it has more memory than the others'
    )
  }
})
