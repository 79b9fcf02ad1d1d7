/** The fault: a fifth of the packets between a process and Redis are dropped; to TCP, and so to us, delays. */
'use strict'

const { setTimeout: delay } = require('node:timers/promises')

const { loopbackOf } = require('../network')
const { drop, dropNothing, isInNamespace } = require('../namespace')

const LOSS_PERCENT = 20

function isImpossible() {
  return !isInNamespace() && 'needs Linux, root, unshare, ip and nft (Debian: apt-get install nftables)'
}

async function strike({ cluster, random, note }) {
  const targets = random.chance(0.5) ? cluster.ids : [random.pick(cluster.ids)]
  try {
    drop(
      targets.map(id => loopbackOf(cluster.ids.indexOf(id))),
      LOSS_PERCENT
    )
    note({ targets: targets.length, percent: LOSS_PERCENT })
    await delay(random.between(1000, 5000))
  } finally {
    dropNothing()
  }
}

module.exports = { name: 'packets', isImpossible, strike, channels: ['redis', 'tcp'] }
