/**
 * Shows that the processes of a cluster can be restarted one after the other forever: no caller
 * elsewhere is refused, nothing is lost or done twice, and the cluster pauses for no longer than an election takes.
 *
 * CONFLUX_RESTARTS sets how often (default 5); how long the cluster paused is printed at the end of each test.
 */
'use strict'

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const test = require('node:test')
const { setTimeout: delay } = require('node:timers/promises')

const { startRedisServer } = require('../scripts/redis-server')
const { Cluster, quantile } = require('./cluster')

const RESTARTS = Number(process.env.CONFLUX_RESTARTS ?? 5)

/** What is aimed at; said where it is missed, for a busy machine fails no promise. */
const CLOSE_PAUSE_MS = 300
const KILL_PAUSE_MS = 2000

/** For as long as a silent voter is waited for: 10 of the longest election timeouts. */
const PRESUMED_DEAD_MS = 5000

/** Three processes, and a fourth that calls all the time. */
async function clusterWithClient(t, { isDurable = false } = {}) {
  const redis = await startRedisServer()
  t.after(() => redis.kill())
  const folder = isDurable ? fs.mkdtempSync(path.join(os.tmpdir(), 'conflux-')) : undefined
  const cluster = new Cluster(redis.url, { folder })
  t.after(async () => {
    await cluster.kill()
    if (isDurable) fs.rmSync(folder, { recursive: true, force: true })
  })
  await cluster.leader()
  const client = cluster.start()
  await client.ask('ready')
  // Some thousand a second: a hundred restarts are to fit into this process' ledger.
  client.load({ pause: 10 })
  await cluster.acknowledgements(100)
  return { cluster, client }
}

/** The process to be restarted next: the oldest; every other time the oldest voter, which leads: the hard case. */
async function nextToGo(cluster, client, restart) {
  const { members } = await client.ask('status')
  const hardCase = restart % 2 === 1
  const candidates = cluster.living.filter(member => member !== client)
  const target = candidates.find(
    ({ id }) => !hardCase || members.some(member => member.id === id && member.voter)
  )
  if (hardCase) await client.ask('transferLeadership', target.id)
  await cluster.acknowledgements(100)
  return target
}

/** Runs one restart; returns for how long the client saw no commit around it. */
async function pauseAround(cluster, client, restart) {
  const start = Date.now()
  await restart()
  await cluster.acknowledgements(100)
  const gaps = await client.ask('gaps')
  return Math.max(0, ...gaps.filter(({ to }) => to >= start).map(({ from, to }) => to - from))
}

async function report(t, cluster, pauses, goal) {
  const { acknowledged } = await cluster.settle()
  const p99 = quantile(pauses, 0.99)
  t.diagnostic(
    `${pauses.length} restarts, ${acknowledged} acknowledged, 0 failed, 0 lost, 0 doubled; ` +
      `the pause around each: p50 ${quantile(pauses, 0.5)} ms, p99 ${p99} ms, max ${Math.max(...pauses)} ms`
  )
  if (p99 > goal) t.diagnostic(`p99 is over ${goal} ms; all pauses: ${pauses.join(', ')} ms`)
  await cluster.close()
}

for (const [how, { keepsId, isDurable }] of Object.entries({
  'under fresh ids': { keepsId: false, isDurable: false },
  'under the same ids': { keepsId: true, isDurable: false },
  'from their disks': { keepsId: true, isDurable: true }
})) {
  test(`${RESTARTS} rolling restarts ${how}, each process closed first`, async t => {
    const { cluster, client } = await clusterWithClient(t, { isDurable })
    const pauses = []
    for (let restart = 1; restart <= RESTARTS; restart++) {
      const target = await nextToGo(cluster, client, restart)
      pauses.push(
        await pauseAround(cluster, client, async () => {
          await target.terminate()
          await cluster.start(keepsId ? target.id : undefined).ask('ready')
        })
      )
    }
    await report(t, cluster, pauses, CLOSE_PAUSE_MS)
  })
}

test(`${RESTARTS} processes killed -9 and replaced, one after the other`, async t => {
  const { cluster, client } = await clusterWithClient(t)
  const pauses = []
  for (let restart = 1; restart <= RESTARTS; restart++) {
    const target = await nextToGo(cluster, client, restart)
    pauses.push(
      await pauseAround(cluster, client, async () => {
        await target.kill()
        // Under the same id, under a fresh one, and only after the others have given the dead one up.
        if (restart % 3 === 0) await delay(PRESUMED_DEAD_MS + 1000)
        await cluster.start(restart % 3 === 1 ? target.id : undefined).ask('ready')
        // Two dead of three would be more than a cluster can bear.
        await cluster.whole()
      })
    )
  }
  await report(t, cluster, pauses, KILL_PAUSE_MS)
})
