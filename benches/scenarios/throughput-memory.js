/** Measures throughput where all three nodes share a process. */
'use strict'

const { measureThroughput } = require('../throughput')

module.exports = {
  name: 'throughput-memory',
  title: 'in flight from the leader, memory, three nodes in a process',
  peers: ['conflux', 'conflux-1'],
  unit: '/s',
  cases: ({ isQuick }) => [
    { title: '3,000', inFlight: 3000 },
    ...(isQuick ? [] : [{ title: '30,000', inFlight: 30_000, peers: ['conflux'] }])
  ],
  measure: ({ which, ...settings }) =>
    measureThroughput(settings, { inFlight: which.inFlight, channel: 'memory' })
}
