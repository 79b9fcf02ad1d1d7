/**
 * The fault: the replica of Redis becomes the primary, connections stay where they are, and the former primary
 * becomes a replica a moment later. Before, between or after, as many newcomers start as could found a cluster of their own.
 */
'use strict'

const { setTimeout: delay } = require('node:timers/promises')

const { until } = require('../until')

/** Far less than the five seconds for which the next primary still knows that there is a cluster. */
const TWO_PRIMARIES_MS_MAX = 1000

async function strike({ cluster, random, note }) {
  const guests = []
  const moment = random.pick(['before', 'between', 'after'])
  const come = now => {
    if (now === moment) guests.push(...cluster.startGuests(cluster.size))
  }
  await cluster.network.level()
  const facts = { guests: cluster.size, moment }
  note(facts)
  come('before')
  await delay(random.between(0, 500))
  const promoted = performance.now()
  await cluster.network.promote()
  come('between')
  await delay(random.between(0, TWO_PRIMARIES_MS_MAX))
  await cluster.network.demote()
  facts.twoPrimariesMs = Math.round(performance.now() - promoted)
  come('after')
  await until('the newcomers to be in the cluster', () => areMembers(guests))
  await isOneCluster(cluster)
  // They leave again: the next fault meets as many processes as the last.
  await Promise.all(guests.map(guest => guest.terminate()))
  for (const { origin, exit } of guests) {
    if (exit !== 0) throw new Error(`${origin} ended with ${exit} after SIGTERM`)
  }
}

async function areMembers(guests) {
  const statuses = await Promise.all(guests.map(guest => guest.ask('status').catch(() => null)))
  return statuses.every(status => status !== null && status.caughtUp)
}

async function isOneCluster(cluster) {
  const clusters = new Set((await cluster.statuses()).map(({ status }) => status.cluster))
  if (clusters.size > 1) throw new Error(`there are ${clusters.size} clusters: ${[...clusters].join(', ')}`)
}

module.exports = { name: 'failover', strike, touchesNetwork: true, channels: ['redis'], endsProcesses: true }
