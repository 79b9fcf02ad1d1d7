// Shows how many more voters may crash: `status().faultTolerance`, and `ready({ faultTolerance })`.

'use strict'

const assert = require('node:assert/strict')
const { randomUUID } = require('node:crypto')
const test = require('node:test')

const { elected, list, openCluster, openNode, rejection, until } = require('./nodes')

test('every node of five says two, then one, then none', async t => {
  const nodes = openCluster(t, 5)
  await elected(nodes)
  const all = (living, count) =>
    until(`${count} more to be tolerated`, () => living.every(node => node.status().faultTolerance === count))
  await all(nodes, 2)
  const living = [...nodes]
  for (const count of [1, 0]) {
    const gone = living.pop()
    // It stays a member, as one that was killed does.
    await gone.close({ leave: false })
    assert.equal(gone.status().faultTolerance, 0)
    await all(living, count)
  }
})

test('`ready` waits until another may crash, for as long as it is to', async t => {
  const channel = { name: 'memory', channelName: randomUUID() }
  const open = id => openNode(t, { id, clusterSize: 3, channel, ...list })
  const nodes = ['a', 'b', 'c'].map(open)
  await Promise.all(nodes.map(node => node.ready({ faultTolerance: 1 })))
  await nodes[2].close({ leave: false })
  await until('the others to notice', () => nodes[0].status().faultTolerance === 0)
  const error = await rejection(nodes[0].ready({ faultTolerance: 1, timeout: 50 }))
  assert.equal(error.code, 'ERR_CONFLUX_TIMEOUT')
  assert.equal(error.waitingFor, '0 more voters may crash, not 1')
  const newcomer = open('d')
  await newcomer.ready({ faultTolerance: 1, timeout: 20_000 })
  assert.equal(newcomer.status().faultTolerance, 1)
  for (const faultTolerance of [-1, 1.5, '1', NaN]) {
    const invalid = await rejection(newcomer.ready({ faultTolerance }))
    assert.equal(invalid.code, 'ERR_CONFLUX_INVALID_ARGUMENT')
  }
})
