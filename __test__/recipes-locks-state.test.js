/**
 * Decides grants without a cluster: order, readers and writers, permits, leases, sessions, and what random sequences of all of
 * them keep.
 */
'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')
const fc = require('fast-check')

const { entries } = require('../lib/recipes/table')
const { locks } = require('../recipes')
const { RecipeModel } = require('./recipe-model')

const REQUEST = {
  mode: 'write',
  permits: 1,
  limit: null,
  duration: null,
  bySession: true,
  reentrant: false,
  wait: true
}

class Locks extends RecipeModel {
  constructor() {
    super(locks())
  }

  acquire(owner, options = {}, key = 'k') {
    const bySession = options.duration === undefined
    return this.call('acquire', key, { ...REQUEST, owner, bySession, ...options })
  }

  entry(key = 'k') {
    return Object.fromEntries(entries(this.state.locks))[key] ?? { held: [], queue: [] }
  }

  get holders() {
    return this.entry().held.map(({ owner }) => owner)
  }

  get queue() {
    return this.entry().queue.map(({ owner }) => owner)
  }
}

test('requests are granted in their order, each with a higher token', () => {
  const model = new Locks()
  const tokens = []
  for (const owner of ['a', 'b', 'c']) model.acquire(owner)
  assert.deepEqual([model.holders, model.queue], [['a'], ['b', 'c']])
  for (const owner of ['a', 'b', 'c']) {
    assert.deepEqual(model.holders, [owner])
    tokens.push(model.entry().held[0].token)
    assert.equal(model.call('release', 'k', owner).type, 'RELEASED')
  }
  assert.deepEqual(tokens, [1, 2, 3])
  assert.deepEqual(model.state.locks, {}, 'nothing is left of a lock that is free')
  assert.equal(model.call('release', 'k', 'a'), undefined)
})

test('readers share a lock, and wait behind a writer that waits', () => {
  const model = new Locks()
  model.acquire('r1', { mode: 'read' })
  model.acquire('r2', { mode: 'read' })
  model.acquire('w', {})
  model.acquire('r3', { mode: 'read' })
  assert.deepEqual(
    [model.holders, model.queue],
    [
      ['r1', 'r2'],
      ['w', 'r3']
    ]
  )
  model.call('release', 'k', 'r1')
  assert.deepEqual(model.holders, ['r2'])
  model.call('release', 'k', 'r2')
  assert.deepEqual([model.holders, model.queue], [['w'], ['r3']])
  model.call('release', 'k', 'w')
  assert.deepEqual(model.holders, ['r3'])
})

test('a semaphore grants its permits, and refuses another limit while it is in use', () => {
  const model = new Locks()
  model.acquire('a', { limit: 3, permits: 2 })
  model.acquire('b', { limit: 3 })
  model.acquire('c', { limit: 3, permits: 2 })
  model.acquire('d', { limit: 3 })
  assert.deepEqual(
    [model.holders, model.queue],
    [
      ['a', 'b'],
      ['c', 'd']
    ]
  )
  assert.throws(
    () => model.acquire('e', { limit: 4 }),
    /a semaphore with a limit of 3, and not a semaphore with a limit of 4/
  )
  assert.throws(() => model.acquire('e'), /a semaphore with a limit of 3, and not a lock/)
  model.call('release', 'k', 'a')
  assert.deepEqual(model.holders, ['b', 'c'])
  for (const owner of ['b', 'c', 'd']) model.call('release', 'k', owner)
  model.acquire('e', { limit: 4 })
  assert.deepEqual(model.holders, ['e'])
})

test('without a wait, a lock that is not free is refused, with its holders', () => {
  const model = new Locks()
  model.acquire('a', { wait: false })
  assert.throws(
    () => model.acquire('b', { wait: false }),
    ({ code, holders }) => code === 'ERR_CONFLUX_LOCK_TIMEOUT' && holders.join() === 'a'
  )
  assert.deepEqual(model.queue, [])
})

test('a lease ends by its timer if a request waits', () => {
  const model = new Locks()
  model.acquire('a', { duration: 100 })
  assert.equal(model.timers.size, 0, 'nothing waits')
  model.acquire('b', { duration: 100 })
  assert.deepEqual([...model.timers.keys()], ['key/k'])
  model.wait(99)
  assert.deepEqual(model.holders, ['a'])
  model.wait(1)
  assert.deepEqual([model.holders, model.queue, model.timers.size], [['b'], [], 0])
})

test('an extension moves the end of a lease and its timer; a lease that is over is not extended', () => {
  const model = new Locks()
  model.acquire('a', { duration: 100 })
  model.acquire('b', { duration: 100 })
  model.wait(90)
  model.call('extend', 'k', 'a', 100)
  model.wait(99)
  assert.deepEqual(model.holders, ['a'])
  model.wait(1)
  assert.deepEqual(model.holders, ['b'])
  assert.throws(() => model.call('extend', 'k', 'a', 100), { code: 'ERR_CONFLUX_LOCK_LOST' })
  model.wait(100)
  // No request waits: the state still names it, but its lease is over.
  assert.throws(() => model.call('extend', 'k', 'b', 100), { code: 'ERR_CONFLUX_LOCK_LOST' })
  model.acquire('c', { wait: false })
  assert.deepEqual(model.holders, ['c'])
})

test('leases that are over go with later requests, so that locks of dead owners do not stay', () => {
  const model = new Locks()
  for (let i = 0; i < 2000; i++) model.acquire('a', { duration: 100 }, `dead ${i}`)
  model.wait(100)
  for (let i = 0; i < 2000; i++) {
    model.acquire('b', { duration: 100 }, `new ${i}`)
    model.call('release', `new ${i}`, 'b')
  }
  assert.deepEqual(model.state.locks, {})
})

test('the end of a session releases what is held by session, and ends its requests; leases stay', () => {
  const model = new Locks()
  model.acquire('by session')
  model.acquire('lease', { duration: 1000 }, 'k2')
  model.acquire('both', { duration: 1000, bySession: true }, 'k3')
  model.caller = { id: 'b', session: 2 }
  model.acquire('waits')
  model.caller = { id: 'a', session: 1 }
  model.acquire('waits too')
  model.caller = { id: 'b', session: 2 }
  model.acquire('waits last')
  model.end(1)
  assert.deepEqual([model.holders, model.queue], [['waits'], ['waits last']])
  assert.deepEqual(
    model.entry('k2').held.map(({ owner }) => owner),
    ['lease']
  )
  assert.deepEqual(model.entry('k3').held, [])
})

test('a lease that is granted by the end of a session begins when its owner says so', () => {
  const model = new Locks()
  model.acquire('a')
  model.caller = { id: 'b', session: 2 }
  model.acquire('b', { duration: 100 })
  model.caller = { id: 'c', session: 3 }
  model.acquire('c', { duration: 100 })
  model.end(1)
  model.wait(1000)
  assert.deepEqual(model.holders, ['b'])
  model.call('extend', 'k', 'b', 100)
  model.wait(100)
  assert.deepEqual(model.holders, ['c'])

  // If the owner dies before that, its session ends the lease.
  const other = new Locks()
  other.acquire('a')
  other.caller = { id: 'b', session: 2 }
  other.acquire('b', { duration: 100 })
  other.end(1)
  assert.deepEqual(other.holders, ['b'])
  other.end(2)
  assert.deepEqual(other.holders, [])
})

test('an owner takes a reentrant lock again, and releases it as often', () => {
  const model = new Locks()
  model.acquire('a', { reentrant: true })
  model.acquire('a', { reentrant: true })
  assert.throws(() => model.acquire('a'), /"reentrant: true"/)
  assert.throws(() => model.acquire('a', { reentrant: true, mode: 'read' }), /another mode/)
  assert.throws(() => model.acquire('a', { reentrant: true, duration: 5 }), /another session/)
  model.caller = { id: 'a', session: 2 }
  assert.throws(() => model.acquire('a', { reentrant: true }), /another session/)
  model.acquire('b')
  model.call('release', 'k', 'a')
  assert.deepEqual(model.holders, ['a'])
  model.call('release', 'k', 'a')
  assert.deepEqual(model.holders, ['b'])
})

test('without sessions a lock needs a duration', () => {
  const model = new Locks()
  model.caller = { id: 'a', session: null }
  assert.throws(() => model.acquire('a'), { code: 'ERR_CONFLUX_NO_SESSIONS' })
  model.acquire('a', { duration: 10 })
  assert.deepEqual(model.holders, ['a'])
})

test('any name is a lock', () => {
  const model = new Locks()
  const names = ['__proto__', 'constructor', 'toString', '0', 'é', '"', 'hasOwnProperty']
  for (const name of names) model.acquire('a', {}, name)
  assert.deepEqual(
    entries(model.state.locks)
      .map(([name]) => name)
      .sort(),
    names.sort()
  )
  for (const name of names) model.call('release', name, 'a')
  assert.deepEqual(model.state.locks, {})
})

const KEYS = ['k', 'l']

const commands = fc.array(
  fc.oneof(
    fc.record({
      do: fc.constant('acquire'),
      key: fc.constantFrom(...KEYS),
      session: fc.integer({ min: 1, max: 4 }),
      mode: fc.constantFrom('write', 'read'),
      duration: fc.constantFrom(null, 10, 50),
      both: fc.boolean(),
      wait: fc.boolean()
    }),
    fc.record({ do: fc.constant('release'), pick: fc.nat() }),
    fc.record({ do: fc.constant('extend'), pick: fc.nat(), duration: fc.constantFrom(5, 40) }),
    fc.record({ do: fc.constant('end'), session: fc.integer({ min: 1, max: 4 }) }),
    fc.record({ do: fc.constant('wait'), milliseconds: fc.integer({ min: 1, max: 60 }) })
  ),
  { maxLength: 60 }
)

test('whatever happens, a writer is alone, tokens rise, the order is kept, and no grant is lost', () => {
  fc.assert(
    fc.property(commands, list => {
      const model = new Locks()
      /** By key: in the order of the requests. */
      const asked = Object.fromEntries(KEYS.map(key => [key, []]))
      const known = []
      let newest = 0
      const ended = new Set()
      for (const [i, command] of list.entries()) {
        const target = known[command.pick % known.length]
        if (command.do === 'acquire' && !ended.has(command.session)) {
          const { key, session, mode, duration, both, wait } = command
          model.caller = { id: `n${session}`, session }
          const owner = `o${i}`
          const bySession = duration === null || both
          try {
            model.acquire(owner, { mode, duration, bySession, wait }, key)
            asked[key].push(owner)
            known.push({ key, owner, duration })
          } catch (error) {
            if (error.code !== 'ERR_CONFLUX_LOCK_TIMEOUT') throw error
          }
        }
        if (command.do === 'release' && target) model.call('release', target.key, target.owner)
        if (command.do === 'extend' && target && target.duration !== null) {
          try {
            model.call('extend', target.key, target.owner, command.duration)
          } catch (error) {
            if (error.code !== 'ERR_CONFLUX_LOCK_LOST') throw error
          }
        }
        if (command.do === 'end') {
          ended.add(command.session)
          model.end(command.session)
        }
        if (command.do === 'wait') model.wait(command.milliseconds)

        for (const key of KEYS) {
          const { held, queue } = model.entry(key)
          const valid = held.filter(({ until }) => until === null || until > model.now)
          const writers = valid.filter(({ mode }) => mode === 'write')
          assert.ok(writers.length === 0 || valid.length === 1, 'a writer is not alone')
          assert.ok(held.length > 0 || queue.length === 0, 'a request waits for a lock that is free')
          const waiting = queue.map(({ owner }) => owner)
          assert.deepEqual(
            waiting,
            asked[key].filter(owner => waiting.includes(owner)),
            'the order has changed'
          )
          // What is granted was asked for before everything that waits.
          const last = Math.max(-1, ...held.map(({ owner }) => asked[key].indexOf(owner)))
          assert.ok(
            waiting.every(owner => asked[key].indexOf(owner) > last),
            'a request was overtaken'
          )
          for (const { token } of held) assert.ok(token <= model.state.token)
          for (const holder of held)
            assert.ok(!holder.bySession || !ended.has(holder.session), 'a dead owner holds')
          if (queue.length > 0 && valid.length < held.length)
            assert.fail('a lease that is over keeps a request waiting')
        }
        assert.ok(model.state.token >= newest, 'the token fell')
        newest = model.state.token
      }
    }),
    { numRuns: 2000 }
  )
})
