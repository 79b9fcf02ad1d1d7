/**
 * A process with a server of socket.io for the channel of that name. It prints its port, and is killed by its tests.
 */
'use strict'

const http = require('node:http')

const { enhanceServerForSocketIOChannel } = require('../socket.io')

const server = http.createServer()
enhanceServerForSocketIOChannel(server)
server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => process.send({ port: server.address().port }))
