/** Measures whether a million actions behind it slow a leader down, or make it larger. */
'use strict'

const { burst } = require('../throughput')

const IN_FLIGHT = 3000

module.exports = {
  name: 'long-life',
  title: 'position in the log, 3,000 in flight, Redis, three processes',
  peers: ['conflux'],
  unit: '',
  deadlineSeconds: 150,
  cases: ({ isQuick }) => [{ title: '', rounds: 1, actions: isQuick ? 100_000 : 1_000_000 }],
  measure: async ({ which, start, seconds }) => {
    const cluster = await start({ execArgv: ['--expose-gc'] })
    const leader = await cluster.leader()
    let done = 0
    const upTo = async actions => {
      await cluster.ask(leader, 'count', { actions: Math.max(0, actions - done), inFlight: IN_FLIGHT })
      done = Math.max(done, actions)
    }
    const rate = () => burst(cluster, [leader], { inFlight: IN_FLIGHT, seconds })
    await upTo(1000)
    const early = await rate()
    await upTo(which.actions / 10)
    const small = await cluster.ask(leader, 'residentBytes')
    await upTo(which.actions)
    const late = await rate()
    const large = await cluster.ask(leader, 'residentBytes')
    return {
      'from 1 k (/s)': early,
      'at the end (/s)': late,
      'memory after a tenth (MB)': small / 1e6,
      'memory at the end (MB)': large / 1e6,
      cluster
    }
  }
}
