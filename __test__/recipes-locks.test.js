/**
 * Takes locks on the nodes of a cluster: who gets them, how long they last, and what ends a wait.
 */
'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')
const { setTimeout: delay } = require('node:timers/promises')

const { cluster } = require('../testing')
const { compose, locks } = require('../recipes')
const { rejection, until } = require('./nodes')

async function open(t, options = { sessions: true }) {
  const c = await cluster(3, { ...options, ...compose({ locks: locks() }) })
  t.after(() => c.close())
  return { c, clients: c.nodes.map(node => locks.client(node, 'locks')) }
}

test('of many tasks on three nodes one runs at a time, each with a higher token', async t => {
  const { c, clients } = await open(t)
  let inside = 0
  let last = 0
  const order = []
  await Promise.all(
    Array.from({ length: 120 }, (_, i) =>
      clients[i % 3].run('k', async lock => {
        assert.equal(++inside, 1)
        assert.ok(lock.token > last)
        last = lock.token
        order.push(i)
        await new Promise(setImmediate)
        inside--
      })
    )
  )
  // Requests of one node are granted in their order.
  for (const node of [0, 1, 2]) {
    const own = order.filter(i => i % 3 === node)
    assert.deepEqual(
      own,
      own.toSorted((a, b) => a - b)
    )
  }
  await c.settled()
  assert.deepEqual(c.nodes[0].getState().locks, { recipe: 'locks/1', token: 120, locks: {} })
})

test('readers share, a writer is alone, and a semaphore has its permits', async t => {
  const { clients } = await open(t)
  const [a, b, c] = clients
  const readers = await Promise.all([a, b].map(client => client.acquire('k', { mode: 'read' })))
  const writer = c.acquire('k')
  await until('the writer waits', () => c.waiting('k') === 1)
  const holders = c.holders('k').map(({ id, mode }) => `${id} ${mode}`)
  assert.deepEqual(holders.sort(), ['a read', 'b read'])
  await Promise.all(readers.map(lock => lock.release()))
  await (await writer).release()

  let inside = 0
  let most = 0
  await Promise.all(
    Array.from({ length: 30 }, (_, i) =>
      clients[i % 3].run('s', { limit: 4 }, async () => {
        most = Math.max(most, ++inside)
        await delay(1)
        inside--
      })
    )
  )
  assert.equal(most, 4)
})

test('a wait ends after maxWait, with its signal, and with the node; and leaves the queue', async t => {
  const { c, clients } = await open(t)
  const [a, b] = clients
  const lock = await a.acquire('k')
  const refused = await rejection(b.acquire('k', { maxWait: 0 }))
  assert.deepEqual(
    [refused.code, refused.outcome, refused.holders],
    ['ERR_CONFLUX_LOCK_TIMEOUT', 'refused', [lock.owner]]
  )
  const late = await rejection(b.acquire('k', { maxWait: 30 }))
  assert.deepEqual(
    [late.code, late.message],
    ['ERR_CONFLUX_LOCK_TIMEOUT', 'lock "k" was not granted within 30 ms']
  )
  const controller = new AbortController()
  const aborted = rejection(b.acquire('k', { signal: controller.signal }))
  await until('it waits', () => b.waiting('k') === 1)
  controller.abort('no longer needed')
  const error = await aborted
  assert.deepEqual([error.name, error.code, error.cause], ['AbortError', 'ABORT_ERR', 'no longer needed'])
  assert.equal((await rejection(b.acquire('k', { signal: controller.signal }))).code, 'ABORT_ERR')
  await until('nothing waits', () => a.waiting('k') === 0)

  const closed = rejection(b.acquire('k'))
  await until('it waits', () => a.waiting('k') === 1)
  await c.nodes[1].close()
  assert.equal((await closed).code, 'ERR_CONFLUX_CLOSED')
  await until('nothing waits', () => a.waiting('k') === 0)
})

test('a lease ends by itself and passes on; its owner learns of it', async t => {
  const { clients } = await open(t, {})
  const [a, b] = clients
  const lock = await a.acquire('k', { duration: 300 })
  assert.equal(lock.isValidForDuration(100), true)
  assert.equal(lock.isValidForDuration(300), false)
  const left = lock.getTTL() - Date.now()
  assert.ok(left > 0 && left <= 300, `${left} ms`)
  const lost = new Promise(resolve => lock.signal.addEventListener('abort', resolve))
  const from = performance.now()
  const next = await b.acquire('k', { duration: 300 })
  const waited = performance.now() - from
  assert.ok(waited < 600, `granted after ${waited} ms`)
  assert.ok(next.token > lock.token)
  await lost
  assert.equal(lock.signal.reason.code, 'ERR_CONFLUX_LOCK_LOST')
  assert.equal(lock.isValidForDuration(0), false)
  assert.equal(await lock.release(), false)
  assert.equal((await rejection(lock.extend(100))).code, 'ERR_CONFLUX_LOCK_LOST')
  assert.equal(next.signal.aborted, false, 'the release of the former owner ended nothing')
  assert.equal(await next.release(), true)
})

test('an extended lease lasts', async t => {
  const { clients } = await open(t, {})
  const [a, b] = clients
  const lock = await a.acquire('k', { duration: 150 })
  const next = b.acquire('k', { duration: 50 })
  for (let i = 0; i < 5; i++) {
    await delay(60)
    await lock.extend(150)
    assert.equal(lock.isValidForDuration(50), true)
  }
  assert.equal(b.waiting('k'), 1)
  assert.equal(await lock.release(), true)
  await (await next).release()
})

test('a lease behind the lock of a session that ends begins when it is granted', async t => {
  const { c, clients } = await open(t)
  const [a, b] = clients
  await a.acquire('k')
  const waiting = b.acquire('k', { duration: 5000 })
  await until('it waits', () => b.waiting('k') === 1)
  await c.nodes[0].close()
  const lock = await waiting
  assert.equal(lock.isValidForDuration(4000), true)
  const [{ until: end }] = b.holders('k')
  assert.ok(Math.abs(end - Date.now() - 5000) < 1000)
})

test('a reentrant owner takes its lock again', async t => {
  const { clients } = await open(t)
  const [a] = clients
  const first = await a.acquire('k', { owner: 'job', reentrant: true })
  const second = await a.acquire('k', { owner: 'job', reentrant: true })
  assert.deepEqual([first.owner, second.token], ['a/job', first.token])
  await assert.rejects(a.acquire('k', { owner: 'job' }), /"a\/job" already holds it/)
  await second.release()
  assert.equal(a.holders('k').length, 1)
  assert.equal(first.signal.aborted, false)
  await first.release()
  assert.equal(a.holders('k').length, 0)
})

test('a lock without a duration needs sessions', async t => {
  const { clients } = await open(t, {})
  await assert.rejects(clients[0].acquire('k'), ({ code, outcome, message }) => {
    assert.deepEqual([code, outcome], ['ERR_CONFLUX_NO_SESSIONS', 'not-applied'])
    return /open the nodes with the option `sessions`, or give a `duration`/.test(message)
  })
})

test('run releases the lock also where its task fails, and gives its error', async t => {
  const { clients } = await open(t)
  const failure = new Error('no paper')
  await assert.rejects(
    clients[0].run('k', () => {
      throw failure
    }),
    failure
  )
  assert.equal(await clients[1].run('k', { maxWait: 5000 }, () => 7), 7)
})

test('a lock is held through the loss of the leader', async t => {
  const { c, clients } = await open(t)
  const leader = await c.leader()
  const [owner, other] = clients.filter((_, i) => c.nodes[i] !== leader)
  const lock = await owner.acquire('k')
  const next = other.acquire('k')
  await until('it waits', () => other.waiting('k') === 1)
  c.crash(leader)
  await c.leader()
  assert.equal(await lock.release(), true)
  assert.ok((await next).token > lock.token)
})

test('invalid arguments are named', async t => {
  const { clients } = await open(t)
  for (const [args, message] of [
    [[''], /a lock must be a non-empty string of at most 200 bytes, got an empty one/],
    [['k', 1], /the options must be an object, got a number/],
    [['k', { durration: 1 }], /the option "durration" is unknown; did you mean "duration"\?/],
    [['k', { duration: 0 }], /"duration" must be a number of milliseconds from 1 to 2147483647, got 0/],
    [['k', { mode: 'shared' }], /"mode" must be "write" or "read", got a string/],
    [['k', { permits: 1 }], /"permits" needs a "limit"/],
    [['k', { limit: 1, mode: 'read' }], /"mode" and "limit" exclude each other/],
    [['k', { limit: 1, permits: 2 }], /"permits" must be at most the "limit" of 1, got 2/],
    [['k', { session: false }], /without a session, a lock needs a "duration"/],
    [['k', { reentrant: true }], /"reentrant" needs an "owner"/],
    [['k', { signal: {} }], /"signal" must be an AbortSignal, got an object/]
  ]) {
    const error = await rejection(clients[0].acquire(...args))
    assert.match(error.message, message)
    assert.deepEqual([error.code, error.outcome], ['ERR_CONFLUX_INVALID_ARGUMENT', 'not-applied'])
  }
  await assert.rejects(clients[0].run('k', {}), /`run` takes a function/)
})
