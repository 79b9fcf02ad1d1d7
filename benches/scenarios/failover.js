/** Measures the gap that kill -9 of the leader leaves: the longest pause between two commits of a survivor. */
'use strict'

const { setTimeout: delay } = require('node:timers/promises')

/** A pause shorter than this is not the failover; no default timer is as short. */
const SETTLE_MS = 100

module.exports = {
  name: 'failover',
  title: 'kill -9 of the leader → next commit, default timers, Redis',
  peers: ['conflux', 'conflux-tcp', 'conflux-local', 'conflux-1', 'etcd', 'nats', 'zmq-raft'],
  unit: 'ms',
  cases: ({ isQuick }) => [
    { title: '', rounds: isQuick ? 2 : 10, roundsOf: { 'conflux-1': 1, etcd: 3, nats: 3, 'zmq-raft': 3 } }
  ],
  measure: async ({ peer, start }) => {
    const cluster = await start({ isForFailover: true })
    const leader = await cluster.leader()
    const survivor = cluster.ids.find(id => id !== leader)
    await cluster.ask(survivor, 'trickle')
    await delay(500)
    const pause = cluster.ask(survivor, 'pause', { settleMs: SETTLE_MS, patienceMs: 10_000 })
    await cluster.kill(leader)
    const gap = await pause
    if (gap === null) throw new Error(`${peer.title}: no commit within 10 s`)
    return { gap, cluster }
  }
}
