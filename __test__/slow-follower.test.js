/**
 * Stops a follower's process under load: the memory of no other process grows for it, and it catches up soon.
 *
 * CONFLUX_SLOW_SECONDS sets for how long (default 10).
 */
'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const test = require('node:test')
const { setTimeout: delay } = require('node:timers/promises')

const { startRedisServer } = require('../scripts/redis-server')
const { Cluster, until } = require('./cluster')

const SLOW_SECONDS = Number(process.env.CONFLUX_SLOW_SECONDS ?? 10)

const OUTPUT_BUFFER_MAX = 8 * 1024 * 1024
const GROWTH_MAX = 1.1

/** From here on memory is held to its bound; a shorter run waits for nothing, and tells it only. */
const MEMORY_HELD_FROM_SECONDS = 60
const CATCHES_UP_WITHIN_MS = 5000

/** Memory before a process has warmed up says nothing about growth. */
const WARM_UP_ACTIONS = 20_000

/** It is warm when the most of so many seconds is hardly more than that of as many before, twice. */
const LEVEL_SECONDS = 30
const LEVEL = 1.02
const LEVEL_WINDOWS = 2
const WARM_UP_SECONDS_MAX = 900

test(
  `a follower stopped for ${SLOW_SECONDS} s under load`,
  { skip: process.platform !== 'linux' && 'reads /proc' },
  async t => {
    const redis = await startRedisServer()
    t.after(() => redis.kill())
    const cluster = new Cluster(redis.url)
    t.after(() => cluster.kill())
    const leader = await cluster.leader()
    const follower = cluster.members.find(member => member !== leader)
    for (const member of cluster.members) if (member !== follower) member.load({ inFlight: 20, pause: 5 })
    await cluster.acknowledgements(WARM_UP_ACTIONS)
    const isHeld = SLOW_SECONDS >= MEMORY_HELD_FROM_SECONDS
    if (isHeld) {
      await untilLevel(leader)
      t.diagnostic(`level after ${(await leader.ask('status')).appliedIndex} actions`)
    }

    // For as long, so that what any load of that length makes of a process is not put down to the follower.
    const before = await mostFor(SLOW_SECONDS, () => residentBytes(leader))
    follower.pause()
    let buffered = 0
    const memory = await mostFor(SLOW_SECONDS, async () => {
      buffered = Math.max(buffered, await outputBuffered(redis))
      return residentBytes(leader)
    })
    const { appliedIndex } = await leader.ask('status')
    follower.resume()
    const start = Date.now()
    await until('it to catch up', async () => (await follower.ask('status')).appliedIndex >= appliedIndex)
    const caughtUpAfter = Date.now() - start

    t.diagnostic(
      `at most ${mib(buffered)} MiB waited in Redis; the leader had at most ${mib(before)} MiB before, and ` +
        `${mib(memory)} MiB meanwhile; caught up after ${caughtUpAfter} ms`
    )
    assert.ok(buffered <= OUTPUT_BUFFER_MAX, `${mib(buffered)} MiB waited in Redis`)
    if (isHeld) {
      assert.ok(memory <= before * GROWTH_MAX, `the leader grew from ${mib(before)} to ${mib(memory)} MiB`)
    }
    assert.ok(caughtUpAfter <= CATCHES_UP_WITHIN_MS, `it caught up only after ${caughtUpAfter} ms`)
    await cluster.settle()
    await cluster.close()
  }
)

/** Resolves when the memory of a process under load has stopped growing by itself. */
async function untilLevel(member) {
  const end = Date.now() + WARM_UP_SECONDS_MAX * 1000
  let former = 0
  for (let level = 0; level < LEVEL_WINDOWS;) {
    assert.ok(
      Date.now() < end,
      `after ${WARM_UP_SECONDS_MAX} s of load its memory still grows: ${mib(former)} MiB`
    )
    const most = await mostFor(LEVEL_SECONDS, () => residentBytes(member))
    level = most <= former * LEVEL ? level + 1 : 0
    former = Math.max(former, most)
  }
}

/** The most that was measured in so many seconds. */
async function mostFor(seconds, measure) {
  let most = 0
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await delay(200)) {
    most = Math.max(most, await measure())
  }
  return most
}

/** Of all connections together: how much Redis keeps for those who don't read. */
async function outputBuffered(redis) {
  const list = await redis.command('CLIENT', 'LIST')
  return [...list.matchAll(/ omem=(\d+)/g)].reduce((sum, [, bytes]) => sum + Number(bytes), 0)
}

/** As the kernel counts it: what the process itself says would be without its Rust part on some systems. */
function residentBytes({ pid }) {
  return Number(fs.readFileSync(`/proc/${pid}/status`, 'utf8').match(/^VmRSS:\s+(\d+) kB/m)[1]) * 1024
}

function mib(bytes) {
  return (bytes / 1024 / 1024).toFixed(1)
}
