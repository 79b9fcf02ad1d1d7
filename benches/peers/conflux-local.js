/** Is this tree as a peer, over the local channel. */
'use strict'

const conflux = require('./conflux')

module.exports = {
  name: 'conflux-local',
  title: 'conflux, local',
  promise: 'the same, without a server',
  missing: () => undefined,
  start: (options, run) => conflux.startNodes('conflux', { ...options, channel: 'local' }, run)
}
