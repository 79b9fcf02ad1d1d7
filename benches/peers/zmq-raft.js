/**
 * Says why zmq-raft 0.5 is no peer yet: its zeromq 5.2 has no binary for Node 20, and building it downloads
 * the sources of libzmq from where npm does not reach.
 */
'use strict'

module.exports = {
  name: 'zmq-raft',
  title: 'zmq-raft',
  promise: 'fdatasync on a majority; acknowledged when committed',
  missing: () => 'its dependency zeromq 5.2 has no binary for Node 20, and its build downloads libzmq'
}
