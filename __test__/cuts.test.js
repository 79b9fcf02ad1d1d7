/**
 * Cuts a cluster of OS processes in every shape, for long: every node that can still serve does, at full speed and
 * without elections, and the others say so in time.
 *
 * CONFLUX_CUT_SECONDS sets how long each cut is held (default 5); what was measured is printed at the end of each test.
 */
'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const test = require('node:test')
const { setTimeout: delay } = require('node:timers/promises')

const { Cluster } = require('../nemesis/cluster')
const cuts = require('../nemesis/faults/cuts')
const { Random } = require('../nemesis/random')

const CUT_SECONDS = Number(process.env.CONFLUX_CUT_SECONDS ?? 5)

const ELECTIONS_MAX = 2
const THROUGHPUT_MIN = 0.8
const SERVES_WITHIN_MS = 2000
const SYNC_TIMEOUT_MS = 1000

/** Between a timeout and its answer: this process and that one share a busy machine with all the others. */
const SLACK_MS = 500

async function clusterUnderLoad(t) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'conflux-cuts-'))
  const cluster = await Cluster.start({ size: 5, folder, clients: 2, pause: 20, options: {} })
  t.after(async () => {
    await cluster.end()
    fs.rmSync(folder, { recursive: true, force: true })
  })
  await cluster.whole()
  await cluster.serves()
  return cluster
}

/** Acknowledged by now, by id. */
async function acknowledged(cluster) {
  const answers = cluster.living.map(async member => [member.id, (await member.ask('progress')).acknowledged])
  return Object.fromEntries(await Promise.all(answers))
}

async function newestTerm(cluster) {
  return Math.max(...(await cluster.statuses()).map(({ status }) => status.term))
}

for (const { name, directionsOf } of cuts) {
  test(`${name}, held for ${CUT_SECONDS} s: few elections, and the connected ones are as fast as before`, async t => {
    const cluster = await clusterUnderLoad(t)
    const before = await acknowledged(cluster)
    await delay(CUT_SECONDS * 1000)
    const healthy = await acknowledged(cluster)

    const leader = (await cluster.leader()).id
    const others = cluster.ids.filter(id => id !== leader)
    const directions = directionsOf({ leader, others, random: new Random(CUT_SECONDS) })
    const term = await newestTerm(cluster)
    await cluster.network.cut(directions, await cluster.incarnations())
    const connected = cluster.living.filter(({ id }) => id !== leader && !isCutFromMost(id, directions))
    const servesAfter = await cluster.serves(SERVES_WITHIN_MS, connected)
    const start = await acknowledged(cluster)
    await delay(CUT_SECONDS * 1000)
    const end = await acknowledged(cluster)
    const elections = (await newestTerm(cluster)) - term
    const newLeader = (await cluster.leader()).id
    await cluster.network.heal()
    await cluster.whole()

    // Who hears the leader and is heard: of the others nothing can be expected.
    const counted = cluster.ids.filter(id => hears(id, newLeader, directions))
    const sum = (from, to) => counted.reduce((total, id) => total + to[id] - from[id], 0)
    const ratio = sum(start, end) / sum(before, healthy)
    t.diagnostic(
      `${elections} elections; served after ${servesAfter} ms; ` +
        `${counted.length} of 5 connected to the leader, at ${Math.round(100 * ratio)} % of their speed before`
    )
    assert.ok(elections <= ELECTIONS_MAX, `${elections} elections`)
    assert.ok(counted.length >= cluster.quorum, `only ${counted} were connected to ${newLeader}`)
    assert.ok(ratio >= THROUGHPUT_MIN, `${Math.round(100 * ratio)} % of the speed before`)
  })
}

test('a minority says that it has no quorum, within the timeout that it was given', async t => {
  const cluster = await clusterUnderLoad(t)
  const leader = await cluster.leader()
  for (const isLeaderIn of [true, false]) {
    const others = cluster.living.filter(member => member !== leader)
    const minority = isLeaderIn ? [leader, others[0]] : others.slice(0, 2)
    const majority = cluster.living.filter(member => !minority.includes(member))
    const directions = minority.flatMap(({ id: one }) =>
      majority.flatMap(({ id: other }) => [
        [one, other],
        [other, one]
      ])
    )
    await cluster.network.cut(directions, await cluster.incarnations())
    const servesAfter = await cluster.serves(SERVES_WITHIN_MS, majority)
    for (const member of minority) {
      const start = performance.now()
      const error = await member.ask('sync', SYNC_TIMEOUT_MS).then(assert.fail, error => error)
      const after = performance.now() - start
      assert.equal(error.code, 'ERR_CONFLUX_NO_QUORUM')
      assert.ok(after <= SYNC_TIMEOUT_MS + SLACK_MS, `it said so only after ${after} ms`)
    }
    t.diagnostic(`with the leader ${isLeaderIn ? 'among the few' : 'among the many'}: ${servesAfter} ms`)
    await cluster.network.heal()
    await cluster.whole()
    await cluster.serves()
  }
})

function hears(id, leader, directions) {
  return !directions.some(([from, to]) => (from === id && to === leader) || (from === leader && to === id))
}

function isCutFromMost(id, directions) {
  return new Set(directions.filter(direction => direction.includes(id)).flat()).size > 3
}
