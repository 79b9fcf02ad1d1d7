/** Measures how throughput falls as the cluster grows. */
'use strict'

const { measureThroughput } = require('../throughput')

module.exports = {
  name: 'sizes',
  title: 'number of nodes, 3,000 in flight, Redis, one process each',
  peers: ['conflux'],
  unit: '/s',
  cases: ({ isQuick }) => (isQuick ? [3, 9] : [1, 3, 5, 9]).map(size => ({ title: String(size), size })),
  measure: ({ which, ...settings }) => measureThroughput(settings, { inFlight: 3000, size: which.size })
}
