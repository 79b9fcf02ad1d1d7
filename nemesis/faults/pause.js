/** The fault: SIGSTOP for one to twelve election timeouts, then SIGCONT; the leader's or another's process. */
'use strict'

const { setTimeout: delay } = require('node:timers/promises')

async function strike({ cluster, random, note }) {
  const leader = await cluster.leader()
  const target = random.chance(0.6) ? leader : random.pick(cluster.living)
  target.pause()
  note({ target: target.id, wasLeader: target === leader })
  try {
    await delay(random.between(400, 5000))
  } finally {
    target.resume()
  }
}

module.exports = { name: 'pause', strike }
