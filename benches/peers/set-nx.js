/**
 * Is a lock as many applications write it: SET NX PX on one Redis, asked for again every 10 ms, released by a script that compares
 * the owner.
 */
'use strict'

const { randomUUID } = require('node:crypto')
const { setTimeout: delay } = require('node:timers/promises')

const { missingPackage, requirePackage } = require('../packages')

const LEASE_MS = 10_000
const RETRY_MS = 10

const RELEASE =
  "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end"

module.exports = {
  name: 'set-nx',
  title: 'SET NX PX',
  promise: 'none if Redis fails; no order; a lock may have two owners after a pause',
  missing: () => missingPackage('ioredis'),
  start: async ({ redis, clients }, run) => startClients('set-nx', [redis.url], clients, run),
  startClients,
  connect
}

/** Processes that are clients of servers of Redis. */
function startClients(peer, urls, count, run) {
  const { Cluster } = require('../cluster')
  const ids = Array.from({ length: count }, (_, i) => `n${i + 1}`)
  const cluster = new Cluster({ groups: ids.map(id => [id]), options: { peer, urls } })
  run.defer(() => cluster.close())
  return cluster.open()
}

async function connect({ urls }) {
  const { default: Redis } = requirePackage('ioredis')
  const client = new Redis(urls[0])
  const owner = randomUUID()
  return {
    acquire: async key => {
      while ((await client.set(key, owner, 'PX', LEASE_MS, 'NX')) === null) await delay(RETRY_MS)
      return () => client.eval(RELEASE, 1, key, owner)
    }
  }
}
