/** This file is the fault: what Redis says reaches one process at 1 to 32 Mbit/s; the leader's or another's. */
'use strict'

const { setTimeout: delay } = require('node:timers/promises')

const BYTES_PER_SECOND_MIN = 125_000
const BYTES_PER_SECOND_MAX = 4_000_000

async function strike({ cluster, random, note }) {
  const leader = await cluster.leader()
  const victim = random.chance(0.3) ? leader : random.pick(cluster.living)
  const magnitudes = Math.log(BYTES_PER_SECOND_MAX / BYTES_PER_SECOND_MIN)
  const bytesPerSecond = Math.round(BYTES_PER_SECOND_MIN * Math.exp(random.between(0, magnitudes)))
  note({ victim: victim.id, wasLeader: victim === leader, bytesPerSecond })
  try {
    cluster.network.slowDown(victim.id, bytesPerSecond)
    await delay(random.between(1000, 5000))
  } finally {
    cluster.network.slowDown(victim.id, Infinity)
  }
}

module.exports = { name: 'slow-link', strike, isLong: true, needsLines: true }
