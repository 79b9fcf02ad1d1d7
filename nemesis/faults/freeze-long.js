/**
 * The fault: a majority, including the leader, is stopped for 15 to 25 election timeouts, long enough to count as
 * gone, and then continues.
 *
 * Only where it is asked for by name or `--long`: it takes its time.
 */
'use strict'

const { setTimeout: delay } = require('node:timers/promises')

async function strike({ cluster, random, note }) {
  const leader = await cluster.leader()
  const others = random.shuffle(cluster.living.filter(member => member !== leader))
  const targets = [leader, ...others.slice(0, cluster.quorum - 1)]
  note({ targets: targets.map(({ id }) => id), wasLeader: true })
  for (const target of targets) target.pause()
  try {
    await delay(random.between(7_500, 12_500))
  } finally {
    for (const target of random.shuffle(targets)) {
      target.resume()
      await delay(random.between(0, 300))
    }
  }
}

module.exports = { name: 'freeze-long', strike, endsProcesses: true, isLong: true }
