/** The fault: all processes are killed -9 at once, and started again from their disks. */
'use strict'

const { setTimeout: delay } = require('node:timers/promises')

function isImpossible({ isDurable }) {
  return !isDurable && 'nodes without storage lose what they knew when all end'
}

async function strike({ cluster, random, note }) {
  const targets = cluster.living
  await Promise.all(targets.map(target => target.kill()))
  note({ targets: targets.length })
  for (const { id } of random.shuffle(targets)) {
    await delay(random.between(0, 200))
    cluster.start(id)
  }
}

module.exports = { name: 'kill-all', isImpossible, strike, endsProcesses: true }
