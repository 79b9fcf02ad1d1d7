// `conflux/socket.io`: the server of the channel `socket.io`. Its types are in socket.io.d.ts.

'use strict'

require('./lib/node-version')

const { enhanceServer } = require('./lib/socket-io-server')

module.exports = { enhanceServerForSocketIOChannel: enhanceServer }
