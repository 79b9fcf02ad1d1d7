/**
 * Measures calls per second, with a constant number in flight: from the leader, or from all nodes at once. Called by
 * the scenarios of throughput.
 */
'use strict'

async function measureThroughput(
  { start, seconds, prepare = async () => {} },
  { inFlight, fromAll, ...options }
) {
  const cluster = await start(options)
  const leader = await cluster.leader()
  await prepare(cluster, leader)
  const perSecond = await burst(cluster, fromAll ? cluster.ids : [leader], { inFlight, seconds })
  return { '/s': perSecond, cluster }
}

async function burst(cluster, ids, { inFlight, seconds }) {
  const one = id =>
    cluster.ask(id, 'burst', {
      inFlight: Math.ceil(inFlight / ids.length),
      seconds,
      warmUp: seconds / 2,
      // What is not done after this long counts as lost, or never was acknowledged.
      patience: 3 * seconds
    })
  const bursts = await Promise.all(ids.map(one))
  return bursts.reduce((sum, { perSecond }) => sum + perSecond, 0)
}

module.exports = { burst, measureThroughput }
