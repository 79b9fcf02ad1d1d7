/** The fault: the wall clock of a process is set by up to an hour, forward or back. */
'use strict'

const { setTimeout: delay } = require('node:timers/promises')

const { libraryOfClock, writeClock } = require('../wall-clock')

const HOUR_S = 3600
/** Another fault may have stopped the process for some seconds. */
const ANSWERS_WITHIN_MS = 30_000

function isImpossible() {
  return !libraryOfClock() && 'needs libfaketime (Debian: apt-get install faketime)'
}

async function strike({ cluster, random, note }) {
  const leader = await cluster.leader()
  const target = random.chance(0.6) ? leader : random.pick(cluster.living)
  const seconds = Math.round(random.between(HOUR_S / 2, HOUR_S)) * (random.chance(0.5) ? 1 : -1)
  try {
    writeClock(cluster.clockOf(target.id), seconds)
    const stepped = ((await target.ask('wallClock', undefined, ANSWERS_WITHIN_MS)) - Date.now()) / 1000
    if (Math.abs(stepped - seconds) > 60)
      throw new Error(`the clock was stepped by ${stepped} s, not ${seconds} s`)
    note({ target: target.id, wasLeader: target === leader, seconds })
    await delay(random.between(500, 3000))
  } finally {
    writeClock(cluster.clockOf(target.id), 0)
  }
}

// Who was killed cannot be asked what time it is.
module.exports = { name: 'clock', isImpossible, strike, endsProcesses: true }
