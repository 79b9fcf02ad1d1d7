/**
 * Is `INCR` on one Redis as a peer: no replication, no log, and what a counter costs without conflux.
 */
'use strict'

const { randomUUID } = require('node:crypto')

const { missingPackage, requirePackage } = require('../packages')
const { Seen } = require('../seen')

module.exports = {
  name: 'incr',
  title: 'INCR, one Redis',
  promise: 'memory of one server; no replication',
  missing: () => missingPackage('redis'),
  start,
  connect
}

async function start({ redis }, run) {
  const { Cluster } = require('../cluster')
  const key = `bench-${randomUUID()}`
  const audit = async () => {
    // `$3\r\n123\r\n`; a counter has no numbers of its own, so that its height stands for all below it.
    const last = Number((await redis.command('GET', key)).split('\r\n')[1])
    return [{ client: { next: last + 1, beyond: [], doubled: 0 } }]
  }
  const cluster = new Cluster({
    groups: [['client']],
    options: { peer: 'incr', url: redis.url, key },
    leader: 'client',
    audit
  })
  run.defer(() => cluster.close())
  return cluster.open()
}

async function connect({ url, key }) {
  const client = await requirePackage('redis').createClient({ url }).connect()
  const acknowledged = new Seen()
  let sequence = 0
  return {
    origin: 'client',
    acknowledged,
    perform: async () => {
      await client.incr(key)
      acknowledged.add(++sequence)
    }
  }
}
