/** The fault: a process computes, and its event loop is blocked. */
'use strict'

async function strike({ cluster, random, note }) {
  const leader = await cluster.leader()
  const target = random.chance(0.6) ? leader : random.pick(cluster.living)
  note({ target: target.id, wasLeader: target === leader })
  const blocked = target.ask('block', random.between(200, 5000), 15_000)
  // Another fault may end it meanwhile.
  await blocked.catch(error => target.isAlive && Promise.reject(error))
}

module.exports = { name: 'block', strike }
