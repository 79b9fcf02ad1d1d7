/** Measures throughput with every node performing. */
'use strict'

const { measureThroughput } = require('../throughput')

module.exports = {
  name: 'from-all',
  title: 'in flight from all nodes together, Redis, three processes',
  peers: ['conflux'],
  unit: '/s',
  // With 3, one at each node.
  cases: ({ isQuick }) =>
    (isQuick ? [3000] : [3, 100, 1000, 3000, 30_000]).map(inFlight => ({
      title: inFlight.toLocaleString('en'),
      inFlight
    })),
  measure: ({ which, ...settings }) =>
    measureThroughput(settings, { inFlight: which.inFlight, fromAll: true })
}
