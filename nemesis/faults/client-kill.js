/** The fault: Redis drops connections of its clients, those that listen or those that publish. */
'use strict'

const { setTimeout: delay } = require('node:timers/promises')

async function strike({ cluster, random, note }) {
  for (let i = 0; i < 5; i++) {
    const type = random.pick(['pubsub', 'normal'])
    const user = random.chance(0.5) ? ['USER', random.pick(cluster.ids)] : []
    await cluster.redis.command('CLIENT', 'KILL', 'TYPE', type, ...user)
    await delay(random.between(0, 500))
  }
  note({})
}

module.exports = { name: 'client-kill', strike, touchesNetwork: true, channels: ['redis'] }
