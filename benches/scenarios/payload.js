/** Measures how throughput falls as actions grow. */
'use strict'

const { measureThroughput } = require('../throughput')

module.exports = {
  name: 'payload',
  title: 'size of an action, text or rows of an object each, 100 in flight, Redis, three processes',
  peers: ['conflux', 'conflux-tcp', 'conflux-local'],
  unit: '/s',
  cases: ({ isQuick }) =>
    isQuick
      ? []
      : [
          { title: '50 B', payloadBytes: 50 },
          { title: '1 KiB', payloadBytes: 1024 },
          { title: '64 KiB', payloadBytes: 65_536 },
          { title: '64 KiB of rows', payloadBytes: 65_536, isStructured: true }
        ],
  measure: ({ which: { payloadBytes, isStructured }, ...settings }) =>
    measureThroughput(settings, { inFlight: 100, payloadBytes, isStructured })
}
