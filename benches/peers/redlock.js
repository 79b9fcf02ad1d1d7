/** Is the package redlock on one server of Redis. */
'use strict'

const { missingPackage, requirePackage } = require('../packages')
const { startClients } = require('./set-nx')

const LEASE_MS = 10_000
/** Its defaults give up after two seconds; it asks again after its default of 200 ms, and up to 100 ms more. */
const OPTIONS = { retryCount: -1, retryDelay: 200, retryJitter: 100 }

module.exports = {
  name: 'redlock',
  title: 'redlock, one Redis',
  promise: 'none if Redis fails; no order; a lock may have two owners after a pause',
  missing: () => missingPackage('redlock') ?? missingPackage('ioredis'),
  start: async ({ redis, clients }, run) => startClients('redlock', [redis.url], clients, run),
  connect
}

async function connect({ urls }) {
  const { default: Redis } = requirePackage('ioredis')
  const Redlock = requirePackage('redlock')
  const redlock = new Redlock(
    urls.map(url => new Redis(url)),
    OPTIONS
  )
  return {
    acquire: async key => {
      const lock = await redlock.lock(key, LEASE_MS)
      return () => lock.unlock()
    }
  }
}
