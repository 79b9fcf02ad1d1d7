/** The fault: every sync of one process takes 0.2 to 8 s; the leader's or another's. */
'use strict'

const { setTimeout: delay } = require('node:timers/promises')

const { libraryOfDisk, writeDiskDelay } = require('../disk-delay')

const DELAY_MS_MIN = 200
const DELAY_MS_MAX = 8000

function isImpossible({ isDurable }) {
  if (!isDurable) return 'needs nodes with storage'
  return libraryOfDisk() === null && 'needs Linux and a C compiler'
}

async function strike({ cluster, random, note }) {
  const leader = await cluster.leader()
  const target = random.chance(0.6) ? leader : random.pick(cluster.living)
  const milliseconds = Math.round(random.between(DELAY_MS_MIN, DELAY_MS_MAX))
  note({ target: target.id, wasLeader: target === leader, milliseconds })
  try {
    writeDiskDelay(cluster.diskDelayOf(target.id), milliseconds)
    await delay(random.between(1000, 5000))
  } finally {
    writeDiskDelay(cluster.diskDelayOf(target.id), 0)
  }
}

module.exports = { name: 'slow-disk', isImpossible, strike, isLong: true }
