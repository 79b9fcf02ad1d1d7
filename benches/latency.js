/**
 * Measures one call after the other: from the leader, then from a follower. Called by the scenarios of
 * latency.
 */
'use strict'

async function measureLatency({ start, seconds }, options) {
  const cluster = await start(options)
  if (cluster.sequential) {
    const { p50, p99 } = await cluster.sequential(seconds)
    return { 'leader p50': p50, 'leader p99': p99 }
  }
  const leader = await cluster.leader()
  const follower = cluster.ids.find(id => id !== leader)
  const figures = {}
  for (const [from, id] of Object.entries({ leader, follower })) {
    if (id === undefined) continue
    // What is compiled on the first calls is not what is measured.
    await cluster.ask(id, 'sequential', { seconds: seconds / 4 })
    const { p50, p99 } = await cluster.ask(id, 'sequential', { seconds })
    figures[`${from} p50`] = p50
    figures[`${from} p99`] = p99
  }
  return { ...figures, cluster }
}

module.exports = { measureLatency }
