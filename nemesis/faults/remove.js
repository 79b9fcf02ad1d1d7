/**
 * The fault: the leader, or one voter after the other until one is left, are removed from the cluster while they
 * live. Each is notified, and returns as a new member.
 */
'use strict'

const ORDER_TIMEOUT_MS = 10_000

async function strike({ cluster, random, note }) {
  const leader = await cluster.leader()
  const others = random.shuffle(cluster.living.filter(member => member !== leader))
  const isAllButOne = random.chance(0.5)
  const targets = isAllButOne ? random.shuffle([leader, ...others.slice(1)]) : [leader]
  const removed = []
  for (const target of targets) {
    try {
      await others[0].ask('remove', target.id, ORDER_TIMEOUT_MS)
      removed.push(target.id)
    } catch ({ code }) {
      // What else is broken meanwhile may keep an order from being carried out; and a voter that is cut off is removed
      // together with the one before it, if the others could not continue otherwise.
      if (!['ERR_CONFLUX_NO_QUORUM', 'ERR_CONFLUX_UNKNOWN_MEMBER'].includes(code)) {
        throw new Error(`removing ${target.id}: ${code}`)
      }
    }
  }
  if (removed.length > 0) note({ removed })
}

module.exports = { name: 'remove', strike, endsProcesses: true }
