/** Is the package redlock on three servers of Redis, of which one may fail. */
'use strict'

const { startRedisServer } = require('../../scripts/redis-server')
const redlock = require('./redlock')
const { startClients } = require('./set-nx')

module.exports = {
  name: 'redlock-3',
  title: 'redlock, three Redis',
  promise: 'memory of a majority; no order; a lock may have two owners after a pause',
  missing: redlock.missing,
  start: async ({ redis, clients }, run) => {
    const others = await Promise.all([startRedisServer(), startRedisServer()])
    for (const server of others) run.defer(() => server.kill())
    return startClients('redlock', [redis.url, ...others.map(({ url }) => url)], clients, run)
  }
}
