/**
 * Holds the store for rate-limiter-flexible to what that package documents of each of its stores, and tests with its own for
 * Redis and etcd.
 */
'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')
const { RateLimiterMemory } = require('rate-limiter-flexible')

const { cluster } = require('../testing')
const { compose, rateLimiter } = require('../recipes')

/** Limiters of this cluster; what each test consumes has its own key prefix. */
let c
let count = 0
test.before(async () => (c = await cluster(3, compose({ limits: rateLimiter() }))))
test.after(() => c.close())

const limiter = (options, node = c.nodes[0]) =>
  rateLimiter.client(node, 'limits', { keyPrefix: `prefix ${++count}`, ...options })

/** A limiter whose node has closed: each of its calls fails. */
async function broken(options) {
  const other = await cluster(1, compose({ limits: rateLimiter() }))
  const broken = limiter(options, other.nodes[0])
  await other.close()
  return broken
}

const rejected = promise => promise.then(() => assert.fail('it resolved'), result => result) // prettier-ignore

test('a limiter of no points refuses', async () => {
  const result = await rejected(limiter({ points: 0, duration: 5 }).consume('k'))
  assert.deepEqual([result.remainingPoints, result.consumedPoints], [0, 1])
})

test('several points at once count, and what is refused counts too', async () => {
  const limits = limiter({ points: 5, duration: 5 })
  assert.equal((await limits.consume('k', 3)).remainingPoints, 2)
  const result = await rejected(limits.consume('k', 3))
  assert.deepEqual([result.remainingPoints, result.consumedPoints], [0, 6])
  assert.equal((await limits.get('k')).consumedPoints, 6)
})

test('execEvenly spreads requests over the duration', async () => {
  const limits = limiter({ points: 2, duration: 2, execEvenly: true })
  const begin = performance.now()
  const first = await limits.consume('k')
  assert.ok(first.isFirstInDuration)
  assert.ok(performance.now() - begin < 900, 'the first is not delayed')
  const second = performance.now()
  await limits.consume('k')
  // What is left of two seconds, divided by the points that remain and two.
  assert.ok(performance.now() - second > 300)
})

test('execEvenlyMinDelayMs is the least delay', async () => {
  const limits = limiter({ points: 100, duration: 1, execEvenly: true, execEvenlyMinDelayMs: 60 })
  await limits.consume('k')
  const begin = performance.now()
  await limits.consume('k')
  assert.ok(performance.now() - begin >= 115, 'two points, 60 ms each')
})

test('a key is blocked in memory for the time until it is free, if there is no other', async () => {
  const limits = limiter({ points: 1, duration: 60, inMemoryBlockOnConsumed: 2 })
  await limits.consume('k')
  assert.ok((await rejected(limits.consume('k'))).msBeforeNext > 1000)
  const { consumedPoints } = await limits.get('k')
  assert.ok((await rejected(limits.consume('k'))).msBeforeNext > 1000)
  assert.equal((await limits.get('k')).consumedPoints, consumedPoints, 'the store was not asked')
  limits.deleteInMemoryBlockedAll()
  await rejected(limits.consume('k'))
  assert.equal((await limits.get('k')).consumedPoints, consumedPoints + 1, 'the store was asked')
})

test('delete ends a block in memory too', async () => {
  const limits = limiter({ points: 1, duration: 60, inMemoryBlockOnConsumed: 2, inMemoryBlockDuration: 60 })
  await limits.consume('k')
  await rejected(limits.consume('k'))
  assert.equal(await limits.delete('k'), true)
  assert.equal((await limits.consume('k')).remainingPoints, 0)
})

test('options that contradict each other throw', () => {
  assert.throws(
    () => limiter({ points: 1, duration: 1, inMemoryBlockDuration: 5 }),
    /inMemoryBlockOnConsumed option must be set up/
  )
  assert.throws(
    () => limiter({ points: 2, duration: 1, inMemoryBlockOnConsumed: 1 }),
    /must be greater or equal "points"/
  )
  assert.throws(
    () => limiter({ points: 2, duration: 1, blockOnConsumed: 1 }),
    /must be greater or equal "points"/
  )
})

test('without an insurance, each call rejects with the error of the node', async () => {
  const limits = await broken({ points: 1, duration: 1 })
  for (const call of ['consume', 'penalty', 'reward', 'get', 'delete']) {
    assert.equal((await rejected(limits[call]('k'))).code, 'ERR_CONFLUX_CLOSED', call)
  }
  assert.equal((await rejected(limits.block('k', 1))).code, 'ERR_CONFLUX_CLOSED')
  assert.equal((await rejected(limits.set('k', 1, 1))).code, 'ERR_CONFLUX_CLOSED')
})

test('an insurance stands in for each call', async () => {
  const insurance = new RateLimiterMemory({ points: 3, duration: 60 })
  const limits = await broken({ points: 1, duration: 1, insuranceLimiter: insurance })
  assert.equal((await limits.consume('k', 1, { customDuration: 30 })).remainingPoints, 2)
  const { msBeforeNext } = await limits.get('k')
  assert.ok(msBeforeNext > 1000 && msBeforeNext <= 30_000, `${msBeforeNext} ms of the duration of the call`)
  assert.equal((await limits.penalty('k')).consumedPoints, 2)
  assert.equal((await limits.reward('k')).consumedPoints, 1)
  await limits.set('k', 2, 60)
  assert.equal((await limits.get('k')).remainingPoints, 1)
  await limits.block('k', 5)
  assert.ok((await rejected(limits.consume('k'))).msBeforeNext > 4000)
  assert.equal(await limits.delete('k'), true)
})

test('keys have the prefix of their limiter, and limiters with one prefix share them', async () => {
  const [a, b] = [0, 1].map(i => limiter({ keyPrefix: 'shared', points: 5, duration: 60 }, c.nodes[i]))
  assert.equal(a.getKey('k'), 'shared:k')
  await a.consume('k')
  assert.equal((await b.consume('k')).consumedPoints, 2)
  assert.equal((await limiter({ points: 5, duration: 60 }).consume('k')).consumedPoints, 1)
  const bare = limiter({ keyPrefix: '', points: 5, duration: 60 })
  assert.equal(bare.getKey('k'), 'k')
})

test('blockDuration blocks once, when the points are exceeded', async () => {
  const limits = limiter({ points: 1, duration: 1, blockDuration: 30 })
  await limits.consume('k')
  assert.equal((await rejected(limits.consume('k'))).msBeforeNext, 30_000)
  const later = await rejected(limits.consume('k'))
  assert.ok(later.msBeforeNext <= 30_000 && later.msBeforeNext > 20_000)
})

test('blockOnConsumed blocks when so many are consumed', async () => {
  const limits = limiter({ points: 1, duration: 5, blockDuration: 30, blockOnConsumed: 3 })
  await limits.consume('k')
  assert.ok((await rejected(limits.consume('k'))).msBeforeNext <= 5000)
  assert.equal((await rejected(limits.consume('k'))).msBeforeNext, 30_000)
})

test('customDuration is the duration of a key that begins with this call', async () => {
  const limits = limiter({ points: 5, duration: 1 })
  for (const [call, key] of [
    ['consume', 'a'],
    ['penalty', 'b'],
    ['reward', 'c']
  ]) {
    const { msBeforeNext } = await limits[call](key, 1, { customDuration: 50 })
    assert.ok(msBeforeNext > 40_000 && msBeforeNext <= 50_000, call)
  }
})

test('a duration of 0 never ends', async () => {
  const limits = limiter({ points: 2, duration: 0 })
  assert.equal((await limits.consume('k')).msBeforeNext, -1)
  assert.equal((await limits.consume('k')).msBeforeNext, -1)
  assert.equal((await rejected(limits.consume('k'))).msBeforeNext, -1)
  await limits.block('blocked', 0)
  assert.equal((await rejected(limits.consume('blocked'))).msBeforeNext, -1)
  const set = await limits.set('set', 1, 0)
  assert.deepEqual([set.consumedPoints, set.msBeforeNext], [1, -1])
  assert.deepEqual((await limits.get('set')).msBeforeNext, -1)
})

test('a block and a set replace what was there, with its duration', async () => {
  const limits = limiter({ points: 5, duration: 60 })
  await limits.consume('k', 4)
  const set = await limits.set('k', 1, 5)
  assert.deepEqual([set.consumedPoints, set.msBeforeNext], [1, 5000])
  const present = await limits.get('k')
  assert.ok(present.msBeforeNext <= 5000 && present.remainingPoints === 4)
  const block = await limits.block('k', 7)
  assert.deepEqual([block.consumedPoints, block.msBeforeNext], [6, 7000])
  assert.ok((await rejected(limits.consume('k'))).msBeforeNext > 5000)
})

test('rewards give points back, also more than were taken', async () => {
  const limits = limiter({ points: 1, duration: 60 })
  await limits.consume('k')
  assert.equal((await limits.reward('k', 2)).consumedPoints, -1)
  assert.equal((await limits.consume('k', 2)).consumedPoints, 1)
})
