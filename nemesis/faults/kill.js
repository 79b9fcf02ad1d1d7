/** The fault: a process is killed -9, and started again, as a new member or from its disk. */
'use strict'

const { setTimeout: delay } = require('node:timers/promises')

async function strike({ cluster, random, note }) {
  const leader = await cluster.leader()
  const isLeader = random.chance(0.6)
  const target = isLeader ? leader : random.pick(cluster.living.filter(member => member !== leader))
  await target.kill()
  note({ target: target.id, wasLeader: target === leader })
  await delay(random.between(0, 2500))
  cluster.start(target.id)
}

module.exports = { name: 'kill', strike, endsProcesses: true }
