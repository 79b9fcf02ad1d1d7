/**
 * Shows that a memory-only cluster outlives all its processes: they are killed one after another, each is
 * replaced by a fresh one, and in the end as many vote as in the beginning, with everything that was acknowledged.
 *
 * CONFLUX_DEATHS sets how many are killed, with the default election timeout, and five seconds before each is replaced.
 * Without it they are four, and all times shorter.
 */
'use strict'

const test = require('node:test')
const { setTimeout: delay } = require('node:timers/promises')

const { startRedisServer } = require('../scripts/redis-server')
const { Cluster } = require('./cluster')

const isLong = process.env.CONFLUX_DEATHS !== undefined
const DEATHS = isLong ? Number(process.env.CONFLUX_DEATHS) : 4
const REPLACED_AFTER_MS = isLong ? 5000 : 2000
const TIMES = isLong ? {} : { electionTimeout: { min: 120, max: 200 }, heartbeatInterval: 20 }

test(`${DEATHS} of five processes killed -9, each replaced ${REPLACED_AFTER_MS} ms later`, async t => {
  const redis = await startRedisServer()
  t.after(() => redis.kill())
  const cluster = new Cluster(redis.url, { size: 5, options: TIMES })
  t.after(() => cluster.kill())
  await cluster.leader()
  const load = { inFlight: 10, pause: 10 }
  cluster.load(load)
  const start = Date.now()
  let leaders = 0

  for (let death = 1; death <= DEATHS; death++) {
    await cluster.acknowledgements(100)
    const leader = await cluster.leader()
    // Leaders die sooner than they can know who is dead, and every third time it is the oldest of the others.
    const target = death % 3 === 0 ? cluster.living.find(member => member !== leader) : leader
    if (target === leader) leaders++
    await target.kill()
    await delay(REPLACED_AFTER_MS)
    const fresh = cluster.start()
    await fresh.ask('ready')
    fresh.load(load)
  }

  const seconds = Math.round((Date.now() - start) / 1000)
  await cluster.acknowledgements(100)
  await cluster.whole()
  const { acknowledged } = await cluster.settle()
  t.diagnostic(
    `${DEATHS} deaths in ${seconds} s, ${leaders} of them the leader's; 5 living voters, all states equal; ` +
      `${acknowledged} acknowledged, 0 lost, 0 doubled`
  )
  await cluster.close()
})
