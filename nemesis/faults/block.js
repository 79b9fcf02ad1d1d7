/** This file is the fault: a process computes, and its event loop stands still. */
'use strict'

async function strike({ cluster, random, note }) {
  const leader = await cluster.leader()
  const victim = random.chance(0.6) ? leader : random.pick(cluster.living)
  note({ victim: victim.id, wasLeader: victim === leader })
  const blocked = victim.ask('block', random.between(200, 5000), 15_000)
  // Another fault may end it meanwhile.
  await blocked.catch(error => victim.isAlive && Promise.reject(error))
}

module.exports = { name: 'block', strike }
