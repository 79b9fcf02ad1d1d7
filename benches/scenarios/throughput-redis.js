/** Measures throughput from the leader over Redis, each node in a process of its own. */
'use strict'

const { measureThroughput } = require('../throughput')

// What others do at these is known, and takes long.
const OURS = ['conflux', 'conflux-tcp', 'conflux-local', 'incr']
const ALL = [...OURS, 'conflux-1', 'etcd', 'nats', 'zmq-raft']

module.exports = {
  name: 'throughput-redis',
  title: 'in flight from the leader, Redis, three processes',
  peers: ALL,
  unit: '/s',
  cases: ({ isQuick }) =>
    isQuick
      ? [{ title: '3,000', inFlight: 3000 }]
      : [
          { title: '1', inFlight: 1, peers: ['conflux'] },
          { title: '100', inFlight: 100, peers: ALL },
          { title: '1,000', inFlight: 1000, peers: ALL },
          { title: '3,000', inFlight: 3000, peers: ALL },
          { title: '30,000', inFlight: 30_000, peers: OURS }
        ],
  measure: ({ which, ...settings }) => measureThroughput(settings, { inFlight: which.inFlight })
}
