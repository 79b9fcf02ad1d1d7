/**
 * Repeats and loses frames between real processes while leaders change, so that requests are sent again and
 * again: each is done once, and what its caller got is what the log has.
 *
 * CONFLUX_REQUESTS sets how many (default 3000). Of 100 frames 30 come twice and 5 never; where they are lost, or the
 * leader is another, nodes send requests again by themselves.
 */
'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')
const { setTimeout: delay } = require('node:timers/promises')

const { startRedisServer } = require('../scripts/redis-server')
const { Cluster } = require('./cluster')
const { LossyRedis } = require('./lossy-redis')

const REQUESTS = Number(process.env.CONFLUX_REQUESTS ?? 3000)
const REPEATED = 0.3
const LOST = 0.05

const LEADS_FOR_MS = 500
/** So often the leader is killed instead of relieved. */
const KILLED_EVERY = 8

test(`${REQUESTS} requests, ${REPEATED * 100} % of them repeated, while leaders change`, async t => {
  const redis = await startRedisServer()
  t.after(() => redis.kill())
  const seen = { frames: 0, repeated: 0, lost: 0 }
  const lossy = await LossyRedis.start(redis.url, () => {
    seen.frames++
    const drawn = Math.random()
    if (drawn < LOST) return ++seen.lost && 0
    if (drawn < LOST + REPEATED) return ++seen.repeated && 2
    return 1
  })
  t.after(() => lossy.close())
  const cluster = new Cluster(lossy.url)
  t.after(() => cluster.kill())
  await cluster.leader()
  // Whose requests all travel, for it never leads.
  const client = cluster.start()
  await client.ask('ready')
  cluster.load({ inFlight: 30, pause: 5 })

  let leaders = 0
  for (let change = 1; countOf(cluster) < REQUESTS || change <= KILLED_EVERY; change++) {
    await delay(LEADS_FOR_MS)
    const leader = await cluster.leader()
    const isOther = entry => entry.leader !== null && entry.leader !== leader.id
    if (change % KILLED_EVERY === 0) {
      await leader.kill()
      await cluster.acknowledgements(20, isOther)
      const fresh = cluster.start()
      await fresh.ask('ready')
      await cluster.whole()
      fresh.load({ inFlight: 30, pause: 5 })
    } else {
      // The order may be lost in flight, or the transfer target may be unable to lead: then another attempt follows.
      await leader.ask('transferLeadership').catch(() => {})
    }
    if ((await cluster.leader()) !== leader) leaders++
  }

  const { acknowledged } = await cluster.settle()
  t.diagnostic(
    `${acknowledged} acknowledged by ${leaders + 1} leaders, 0 lost, 0 doubled, every result as the log has it; of ` +
      `${seen.frames} frames ${seen.repeated} came twice, ${seen.lost} never`
  )
  assert.ok(acknowledged >= REQUESTS && leaders > 0, 'no leader changed: nothing was shown')
  await cluster.close()
})

function countOf(cluster) {
  return cluster.members.reduce((sum, { acknowledged }) => sum + acknowledged.length, 0)
}
