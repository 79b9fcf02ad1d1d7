/** This file is the fault: SIGSTOP for one to twelve election timeouts, then SIGCONT; the leader's or another's process. */
'use strict'

const { setTimeout: delay } = require('node:timers/promises')

async function strike({ cluster, random, note }) {
  const leader = await cluster.leader()
  const victim = random.chance(0.6) ? leader : random.pick(cluster.living)
  victim.pause()
  note({ victim: victim.id, wasLeader: victim === leader })
  try {
    await delay(random.between(400, 5000))
  } finally {
    victim.resume()
  }
}

module.exports = { name: 'pause', strike }
