/** Measures whether throughput depends on the size of the state, with a reducer that copies one level. */
'use strict'

const { measureThroughput } = require('../throughput')

module.exports = {
  name: 'state',
  title: 'size of the state, 3,000 in flight, Redis, three processes',
  peers: ['conflux'],
  unit: '/s',
  cases: ({ isQuick }) =>
    isQuick
      ? []
      : [
          { title: '10 B', bytes: 0 },
          { title: '100 KiB', bytes: 100 * 1024 },
          { title: '10 MiB', bytes: 10 * 1024 * 1024 }
        ],
  measure: ({ which, ...settings }) =>
    measureThroughput(
      { ...settings, prepare: (cluster, leader) => cluster.ask(leader, 'fill', { bytes: which.bytes }) },
      { inFlight: 3000 }
    )
}
