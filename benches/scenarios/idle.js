/** Measures what a cluster costs that has nothing to do. */
'use strict'

const { setTimeout: delay } = require('node:timers/promises')

module.exports = {
  name: 'idle',
  title: 'idle, three processes, Redis',
  peers: ['conflux', 'conflux-tcp', 'conflux-local', 'conflux-1'],
  unit: '',
  cases: ({ isQuick }) => [{ title: '', rounds: 1, seconds: isQuick ? 2 : 10 }],
  measure: async ({ which, start, redis }) => {
    const cluster = await start({})
    await cluster.leader()
    await delay(1000)
    const look = async () => ({
      cpus: await Promise.all(cluster.ids.map(id => cluster.ask(id, 'cpuMicroseconds'))),
      publishes: publishes(await redis.command('INFO', 'commandstats')),
      at: performance.now()
    })
    const before = await look()
    await delay(which.seconds * 1000)
    const after = await look()
    const seconds = (after.at - before.at) / 1000
    const shares = after.cpus.map((cpu, i) => (cpu - before.cpus[i]) / 1e4 / seconds)
    return {
      'most of a node (% of a core)': Math.max(...shares),
      'messages of all (/s)': (after.publishes - before.publishes) / seconds,
      cluster
    }
  }
}

function publishes(info) {
  return Number(/cmdstat_publish:calls=(\d+)/.exec(info)?.[1] ?? 0)
}
