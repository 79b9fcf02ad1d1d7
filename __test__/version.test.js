// Shows how new code is rolled out: what one version can and another cannot does not fail on the way.

'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')

const { elected, list, openCluster, rejection, until } = require('./nodes')

const add = { add: n => n + 1 }

test('every node shows the version of each member', async t => {
  const nodes = openCluster(t, 3, id => ({ version: `${id}-1` }))
  await elected(nodes)
  for (const node of nodes) {
    await until('all versions to be known', () =>
      node.status().members.every(({ id, version }) => version === `${id}-1`)
    )
  }
})

test('a method that only a newer version has waits for a leader of it', async t => {
  const nodes = openCluster(t, 3, id => ({
    version: id === 'a' ? '1' : '2',
    methods: id === 'a' ? list.methods : { ...list.methods, ...add }
  }))
  await elected(nodes)
  const [old, newer] = nodes
  await old.transferLeadership('a')
  await until('the old version to lead', () => nodes.every(node => node.status().leader === 'a'))

  const late = await rejection(newer.perform('add', [0], 300))
  assert.equal(late.code, 'ERR_CONFLUX_TIMEOUT')
  const adding = newer.perform('add', [1])
  // Calls that the old version supports continue meanwhile.
  assert.equal(await old.perform('append', ['x']), 'x')
  await old.transferLeadership('b')
  assert.equal(await adding, 2)
  await old.sync()
  assert.deepEqual(old.getState(), ['x', 2])
})

test('a method that no version has is refused', async t => {
  const nodes = openCluster(t, 3, { version: '1' })
  await elected(nodes)
  for (const node of nodes) {
    const { code, outcome } = await rejection(node.perform('add', [1]))
    assert.deepEqual([code, outcome], ['ERR_CONFLUX_UNKNOWN_METHOD', 'refused'])
  }
})
