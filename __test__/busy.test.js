// Shows that what is pending is bounded, and that refusing more costs nothing that was accepted.

'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')

const { openCluster, openOne, rejection } = require('./nodes')

test('over maxPending a call is refused immediately, and accepted again when one has ended', async t => {
  const node = openOne(t, { maxPending: 2 })
  const accepted = [node.perform('append', [1]), node.perform('append', [2])]
  const error = await rejection(node.perform('append', [3]))
  assert.deepEqual([error.code, error.outcome], ['ERR_CONFLUX_BUSY', 'not-applied'])
  assert.match(error.message, /^this node has 2 pending calls/)
  assert.deepEqual(await Promise.all(accepted), [1, 2])
  assert.equal(await node.perform('append', [4]), 4)
  assert.deepEqual(node.getState(), [1, 2, 4])
})

test('of 200,000 calls at once those over the limit are refused, and all others are done in order', async t => {
  const node = openOne(t, {
    reduce: (state, action) => (action === null ? { count: 0 } : { count: state.count + 1 })
  })
  const performing = Array.from({ length: 200_000 }, (_, i) => node.perform('append', [i]))
  assert.equal(node.status().pending, 100_000)
  const results = await Promise.allSettled(performing)
  for (const [i, result] of results.entries()) {
    if (i < 100_000) assert.equal(result.value, i)
    else assert.equal(result.reason.code, 'ERR_CONFLUX_BUSY')
  }
  assert.deepEqual(node.getState(), { count: 100_000 })
  assert.equal(node.status().pending, 0)
})

test('over 64 Mi characters of arguments a call is refused', async t => {
  // One of three nodes: it has no leader, so everything stays pending.
  const [node] = openCluster(t, 1, { clusterSize: 3 })
  const large = 'x'.repeat(1024 * 1024 - 4)
  const performing = Promise.allSettled(Array.from({ length: 64 }, () => node.perform('append', [large])))
  const error = await rejection(node.perform('append', ['y']))
  assert.deepEqual([error.code, error.outcome], ['ERR_CONFLUX_BUSY', 'not-applied'])
  await node.close()
  for (const result of await performing) assert.equal(result.reason.code, 'ERR_CONFLUX_CLOSED')
})
