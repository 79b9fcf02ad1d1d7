/** Is this tree as a peer, over the tcp channel. */
'use strict'

const conflux = require('./conflux')

module.exports = {
  name: 'conflux-tcp',
  title: 'conflux, tcp',
  promise: 'the same, without a server',
  missing: () => undefined,
  start: (options, run) => conflux.startNodes('conflux', { ...options, channel: 'tcp' }, run)
}
