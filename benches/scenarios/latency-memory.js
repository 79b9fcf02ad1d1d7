/** Measures one call after the other where all three nodes share a process. */
'use strict'

const { measureLatency } = require('../latency')

module.exports = {
  name: 'latency-memory',
  title: 'one at a time, memory, three nodes in a process',
  peers: ['conflux', 'conflux-1'],
  unit: 'ms',
  cases: () => [{ title: '' }],
  measure: settings => measureLatency(settings, { channel: 'memory' })
}
