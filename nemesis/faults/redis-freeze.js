/** The fault: Redis is stopped for a while, and keeps all connections. */
'use strict'

const { setTimeout: delay } = require('node:timers/promises')

async function strike({ cluster, random, note }) {
  cluster.redis.freeze()
  note({})
  try {
    await delay(random.between(300, 5000))
  } finally {
    cluster.redis.thaw()
  }
}

module.exports = { name: 'redis-freeze', strike, touchesNetwork: true, channels: ['redis'] }
