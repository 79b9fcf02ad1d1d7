/**
 * Shows that a leader which stood still while others elected another one never takes what it has for current:
 * whatever was acknowledged elsewhere before `sync()` was called is in the state after it.
 *
 * CONFLUX_PAUSES sets how often a leader is stopped (default 3), each time for 2 to 10 election timeouts.
 */
'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')
const { setTimeout: delay } = require('node:timers/promises')

const { startRedisServer } = require('../scripts/redis-server')
const { contains } = require('./ledger')
const { Cluster } = require('./cluster')

const PAUSES = Number(process.env.CONFLUX_PAUSES ?? 3)
const ELECTION_TIMEOUT_MS = 400

/** Reads that wait for the leader when it continues, and for how long it is asked again and again after that. */
const READS_AT_ONCE = 50
const READS_FOR_MS = 1000
const READ_EVERY_MS = 2

test(`sync() is current on a leader that was stopped by SIGSTOP, ${PAUSES} times`, async t => {
  const redis = await startRedisServer()
  t.after(() => redis.kill())
  const cluster = new Cluster(redis.url)
  t.after(() => cluster.kill())
  await cluster.leader()
  cluster.load({ inFlight: 5, pause: 5 })
  let reads = 0
  let behind = 0

  for (let pause = 1; pause <= PAUSES; pause++) {
    const leader = await cluster.leader()
    await cluster.acknowledgements(50)
    leader.pause()
    const timeouts = 2 + 8 * Math.random()
    await Promise.all([
      delay(timeouts * ELECTION_TIMEOUT_MS),
      cluster.acknowledgements(50, entry => entry.leader !== leader.id)
    ])

    const state = leader.ask('state')
    const answers = Array.from({ length: READS_AT_ONCE }, () => leader.ask('read'))
    // These calls are made when the process continues: what is acknowledged now was so before.
    const floor = newest(cluster)
    leader.resume()
    const checks = answers.map(answer => assertCurrent(answer, floor))
    for (const end = Date.now() + READS_FOR_MS; Date.now() < end; await delay(READ_EVERY_MS)) {
      checks.push(assertCurrent(leader.ask('read'), newest(cluster)))
    }
    await Promise.all(checks)
    reads += checks.length
    if (!isCurrent(await state, floor)) behind++
  }

  const { acknowledged } = await cluster.settle()
  t.diagnostic(
    `${PAUSES} pauses, ${reads} reads after sync(), 0 stale; without sync() ${behind} of ${PAUSES} were; ` +
      `${acknowledged} acknowledged, 0 lost, 0 doubled`
  )
  assert.ok(behind > 0, 'no leader was behind after its pause: nothing was shown')
  await cluster.close()
})

/** The newest thing that each member acknowledged: a state that contains these contains all, because each member calls in order. */
function newest(cluster) {
  return cluster.members.flatMap(({ acknowledged }) => acknowledged.slice(-1)).map(({ thing }) => thing)
}

async function assertCurrent(answer, floor) {
  const ledger = await answer
  assert.ok(
    isCurrent(ledger, floor),
    `read ${JSON.stringify(ledger.applied)} after ${floor} were acknowledged`
  )
}

function isCurrent(ledger, floor) {
  return floor.every(thing => contains(ledger, thing))
}
