/** Measures one call after the other over Redis, each node in a process of its own. */
'use strict'

const { measureLatency } = require('../latency')

module.exports = {
  name: 'latency-redis',
  title: 'one at a time, Redis, three processes',
  peers: ['bare', 'conflux', 'conflux-tcp', 'conflux-local', 'conflux-1', 'etcd', 'nats', 'zmq-raft', 'incr'],
  unit: 'ms',
  cases: () => [{ title: '' }],
  measure: settings => measureLatency(settings, {})
}
