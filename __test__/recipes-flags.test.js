/**
 * Sets flags on one node and reads them on others; compare-and-set lets one of many win.
 */
'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')

const { cluster } = require('../testing')
const { compose, flags } = require('../recipes')

async function open(t) {
  const c = await cluster(3, compose({ flags: flags() }))
  t.after(() => c.close())
  return { c, clients: c.nodes.map(node => flags.client(node, 'flags')) }
}

test('a flag that one node sets has its value on all', async t => {
  const { c, clients } = await open(t)
  const [a, b] = clients
  assert.equal(b.get('dark'), undefined)
  assert.equal(b.get('dark', 'fallback'), 'fallback')
  await a.set('dark', { since: [1, 2] })
  assert.deepEqual(a.entry('dark'), { value: { since: [1, 2] }, version: 1 })
  await c.settled()
  assert.deepEqual(b.get('dark'), { since: [1, 2] })
  await b.remove('dark')
  assert.equal(b.entry('dark'), null)
  await b.remove('dark')
})

test('of many nodes that set a flag if it has a version or a value, one wins', async t => {
  const { c, clients } = await open(t)
  const results = await Promise.allSettled(
    Array.from({ length: 30 }, (_, i) => clients[i % 3].set('leader', i, { ifVersion: 0 }))
  )
  const winners = results.filter(({ status }) => status === 'fulfilled')
  assert.equal(winners.length, 1)
  const { reason } = results.find(({ status }) => status === 'rejected')
  await c.settled()
  const { value, version } = clients[0].entry('leader')
  assert.deepEqual(
    [reason.code, reason.outcome, reason.value, reason.version],
    ['ERR_CONFLUX_CONFLICT', 'refused', value, 1]
  )
  assert.equal(version, 1)

  const done = await Promise.all(
    Array.from({ length: 30 }, (_, i) => clients[i % 3].compareAndSet('leader', value, `next ${i}`))
  )
  assert.equal(done.filter(Boolean).length, 1)
  assert.equal(await clients[0].compareAndSet('leader', undefined, 'x'), false)
  await c.settled()
  assert.equal(await clients[1].compareAndSet('leader', clients[1].get('leader'), null), true)
  assert.equal(clients[1].entry('leader'), null)
  assert.equal(await clients[1].compareAndSet('leader', null, { a: [1], b: 2 }), true)
  assert.equal(await clients[2].compareAndSet('leader', { b: 2, a: [1] }, { a: 2 }), true)
})

test('a counter that many nodes raise by compare-and-set misses nothing', async t => {
  const { c, clients } = await open(t)
  const raise = async client => {
    for (;;) {
      const count = client.get('count')
      if (await client.compareAndSet('count', count, (count ?? 0) + 1)) return
      await new Promise(resolve => setImmediate(resolve))
    }
  }
  await Promise.all(Array.from({ length: 60 }, (_, i) => raise(clients[i % 3])))
  await c.settled()
  assert.equal(clients[0].get('count'), 60)
})

test('a watch is called for its own flag', async t => {
  const { clients } = await open(t)
  const seen = []
  const unwatch = clients[0].watch('a', (value, previous) => seen.push([value, previous]))
  await clients[0].set('a', 1)
  await clients[0].set('b', 1)
  await clients[0].set('a', 2)
  unwatch()
  await clients[0].set('a', 3)
  assert.deepEqual(seen, [
    [1, undefined],
    [2, 1]
  ])
})

test('invalid arguments are named', async t => {
  const { clients } = await open(t)
  const [client] = clients
  for (const [call, message] of [
    [() => client.set('', 1), /a flag must be a non-empty string of at most 200 bytes, got an empty one/],
    [() => client.set('x'.repeat(201), 1), /got one of 201 bytes/],
    [() => client.set(7, 1), /got a number/],
    [() => client.set('a', null), /neither null nor undefined/],
    [
      () => client.set('a', 1, { ifVersoin: 1 }),
      /the option "ifVersoin" is unknown; did you mean "ifVersion"\?/
    ],
    [() => client.set('a', 1, { ifVersion: -1 }), /"ifVersion" must be an integer, 0 or more, got -1/],
    [() => client.set('a', new Map()), /is not JSON/]
  ]) {
    await assert.rejects(
      call,
      ({ message: text, outcome }) => message.test(text) && outcome === 'not-applied'
    )
  }
  assert.deepEqual(client.entries(), [])
})
