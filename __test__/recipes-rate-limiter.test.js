/**
 * Drives the recipe by the published package rate-limiter-flexible: its limits hold over all nodes.
 */
'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')

/** By so much the wall clock of this process is wrong. conflux takes `Date.now` when it is loaded. */
let offset = 0
const trueTime = Date.now
Date.now = () => trueTime() + offset

const {
  BurstyRateLimiter,
  RateLimiterMemory,
  RateLimiterQueue,
  RLWrapperBlackAndWhite
} = require('rate-limiter-flexible')

const { cluster } = require('../testing')
const { compose, rateLimiter } = require('../recipes')
const { RecipeModel } = require('./recipe-model')

async function open(t, options) {
  const c = await cluster(3, compose({ limits: rateLimiter() }))
  t.after(() => c.close())
  return { c, limiters: c.nodes.map(node => rateLimiter.client(node, 'limits', options)) }
}

test('of many requests at three nodes, as many pass as there are points', async t => {
  const { limiters } = await open(t, { points: 10, duration: 60 })
  const results = await Promise.allSettled(
    Array.from({ length: 60 }, (_, i) => limiters[i % 3].consume('10.0.0.1'))
  )
  const passed = results.filter(({ status }) => status === 'fulfilled').map(({ value }) => value)
  const refused = results.filter(({ status }) => status === 'rejected').map(({ reason }) => reason)
  assert.deepEqual([passed.length, refused.length], [10, 50])
  assert.deepEqual(
    passed.map(({ remainingPoints }) => remainingPoints).sort((a, b) => a - b),
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
  )
  assert.equal(passed.filter(({ isFirstInDuration }) => isFirstInDuration).length, 1)
  for (const { msBeforeNext } of [...passed, ...refused])
    assert.ok(msBeforeNext > 0 && msBeforeNext <= 60_000)
  assert.equal((await limiters[0].consume('10.0.0.2')).remainingPoints, 9)
})

test('points expire with their duration, by the clock of the cluster', async t => {
  const { limiters } = await open(t, { points: 1, duration: 0.2 })
  await limiters[0].consume('k')
  const { msBeforeNext } = await limiters[1].consume('k').catch(result => result)
  assert.ok(msBeforeNext > 0 && msBeforeNext <= 200)
  for (;;) {
    const result = await limiters[2].consume('k').catch(error => error)
    if (result.remainingPoints === 0 && result.consumedPoints === 1) break
    await new Promise(resolve => setTimeout(resolve, 10))
  }
})

test('a wall clock that is wrong changes nothing of what `get` says', async t => {
  t.after(() => (offset = 0))
  const { limiters } = await open(t, { points: 5, duration: 60 })
  const { msBeforeNext: first } = await limiters[0].consume('k')
  for (offset of [-3_600_000, 3_600_000]) {
    for (const limiter of limiters) {
      const { consumedPoints, msBeforeNext } = await limiter.get('k')
      assert.equal(consumedPoints, 1)
      assert.ok(msBeforeNext > 0 && msBeforeNext <= first, `${msBeforeNext} ms with ${offset}`)
    }
  }
})

test('penalty, reward, get, set, block and delete do what they do in every store', async t => {
  const { limiters } = await open(t, { points: 5, duration: 60 })
  const [a, b, c] = limiters
  assert.equal(await a.get('k'), null)
  assert.equal((await a.penalty('k', 2)).consumedPoints, 2)
  assert.equal((await b.reward('k', 1)).consumedPoints, 1)
  const present = await c.get('k')
  assert.deepEqual([present.consumedPoints, present.remainingPoints], [1, 4])
  await c.set('k', 4, 60)
  assert.equal((await a.consume('k')).remainingPoints, 0)
  assert.equal(await b.delete('k'), true)
  assert.equal(await b.delete('k'), false)
  assert.equal(await a.get('k'), null)
  await b.block('k', 60)
  await assert.rejects(c.consume('k'), ({ msBeforeNext }) => msBeforeNext > 59_000)
  // Without a duration points stay.
  await a.set('for ever', 1, 0)
  assert.equal((await b.get('for ever')).msBeforeNext, -1)
})

test('a key is blocked for blockDuration, and in memory', async t => {
  const { limiters } = await open(t, {
    points: 1,
    duration: 1,
    blockDuration: 60,
    inMemoryBlockOnConsumed: 2,
    inMemoryBlockDuration: 60
  })
  await limiters[0].consume('k')
  await assert.rejects(limiters[0].consume('k'), ({ msBeforeNext }) => msBeforeNext > 1000)
  await assert.rejects(limiters[1].consume('k'), ({ msBeforeNext }) => msBeforeNext > 1000)
})

test('it is a limiter of the package: its wrappers take it, and an insurance stands in for it', async t => {
  const { c, limiters } = await open(t, {
    points: 2,
    duration: 60,
    insuranceLimiter: new RateLimiterMemory({ points: 1, duration: 60 })
  })
  const list = new RLWrapperBlackAndWhite({ limiter: limiters[0], whiteList: ['friend'] })
  for (let i = 0; i < 5; i++) await list.consume('friend')
  const bursty = new BurstyRateLimiter(limiters[0], new RateLimiterMemory({ points: 1, duration: 60 }))
  for (let i = 0; i < 3; i++) await bursty.consume('k')
  await assert.rejects(bursty.consume('k'))
  const queue = new RateLimiterQueue(rateLimiter.client(c.nodes[1], 'limits', { points: 2, duration: 1 }))
  assert.equal(await queue.removeTokens(1, 'queue'), 1)

  await c.close()
  assert.equal((await limiters[0].consume('other')).remainingPoints, 0, 'the insurance')
  await assert.rejects(limiters[0].consume('other'), ({ consumedPoints }) => consumedPoints === 2)
})

test('keys whose points have expired do not stay', () => {
  const model = new RecipeModel(rateLimiter())
  for (let i = 0; i < 3000; i++) model.call('add', `old ${i}`, 1, 1000, false)
  model.wait(1000)
  for (let i = 0; i < 3000; i++) model.call('add', `new ${i}`, 1, 1000, false)
  const keys = Object.values(model.state.points).flatMap(Object.keys)
  assert.equal(keys.filter(key => key.startsWith('old')).length, 0)
})
