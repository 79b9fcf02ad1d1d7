/** Measures what `getProvisionalState()` in every method costs with 3,000 uncommitted before it. */
'use strict'

const { measureThroughput } = require('../throughput')

module.exports = {
  name: 'provisional',
  title: 'getProvisionalState() in each method, 3,000 in flight, Redis',
  peers: ['conflux'],
  unit: '/s',
  cases: ({ isQuick }) =>
    isQuick
      ? []
      : [
          { title: 'none', isProvisional: false },
          { title: 'in each method', isProvisional: true }
        ],
  measure: ({ which, ...settings }) =>
    measureThroughput(settings, { inFlight: 3000, isProvisional: which.isProvisional })
}
