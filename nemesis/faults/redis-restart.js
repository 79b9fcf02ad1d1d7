/** The fault: Redis is killed, and comes back after a while. */
'use strict'

const { setTimeout: delay } = require('node:timers/promises')

async function strike({ cluster, random, note }) {
  await cluster.redis.kill()
  note({})
  await delay(random.between(0, 3000))
  await cluster.redis.start()
}

module.exports = { name: 'redis-restart', strike, touchesNetwork: true, channels: ['redis'] }
