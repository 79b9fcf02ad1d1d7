/**
 * The fault: the line of one process carries 20 to 500 kB a second, from Redis, to it, or both; the leader's
 * or another's. In half of the cases a process that was away has to catch up over it.
 */
'use strict'

const { setTimeout: delay } = require('node:timers/promises')

const BYTES_PER_SECOND_MIN = 20e3
const BYTES_PER_SECOND_MAX = 500e3

async function strike({ cluster, random, note }) {
  const leader = await cluster.leader()
  const target = random.chance(0.6) ? leader : random.pick(cluster.living)
  const rate = Math.round(random.between(BYTES_PER_SECOND_MIN, BYTES_PER_SECOND_MAX))
  const directions = random.pick([['down'], ['up'], ['down', 'up']])
  const comesBack = random.chance(0.5)
  try {
    if (comesBack) await target.kill()
    cluster.network.limit(target.id, Object.fromEntries(directions.map(direction => [direction, rate])))
    note({ target: target.id, wasLeader: target === leader, bytesPerSecond: rate, directions, comesBack })
    if (comesBack) cluster.start(target.id)
    await delay(random.between(1500, 5000))
  } finally {
    cluster.network.limit(target.id, {})
  }
}

module.exports = { name: 'slow-link', strike, touchesNetwork: true, channels: ['redis', 'tcp'], endsProcesses: true }
