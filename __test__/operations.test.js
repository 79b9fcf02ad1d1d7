// Shows what cannot be asked of a cluster at all; what can be is shown where it is done (join.test.js).

'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')

const { openCluster, openOne, rejection } = require('./nodes')

const wrong = [
  ['sync', [1], 'the options must be an object such as { timeout: … }, got 1'],
  ['sync', [{ timout: 1 }], 'the option "timout" is unknown; did you mean "timeout"?'],
  ['sync', [{ timeout: -1 }], 'the timeout must be a number of milliseconds from 0 to 2147483647, got -1'],
  [
    'sync',
    [{ timeout: '1' }],
    'the timeout must be a number of milliseconds from 0 to 2147483647, got a string'
  ],
  [
    'sync',
    [{ timeout: Infinity }],
    'the timeout must be a number of milliseconds from 0 to 2147483647, got Infinity'
  ],
  ['transferLeadership', [1], '`transferLeadership` takes the id of a member, a non-empty string, got 1'],
  [
    'transferLeadership',
    [{ timeout: NaN }],
    'the timeout must be a number of milliseconds from 0 to 2147483647, got NaN'
  ],
  ['remove', [], '`remove` takes the id of a member, a non-empty string, got undefined'],
  ['remove', [''], '`remove` takes the id of a member, a non-empty string, got an empty string'],
  [
    'remove',
    ['\ud800'],
    '`remove` takes the id of a member, a non-empty string, got a string that is not well-formed'
  ],
  ['resize', [], '`resize` takes the new cluster size, an integer from 1 to 99, got undefined'],
  ['resize', [0], '`resize` takes the new cluster size, an integer from 1 to 99, got 0'],
  ['resize', [100], '`resize` takes the new cluster size, an integer from 1 to 99, got 100'],
  ['resize', [1.5], '`resize` takes the new cluster size, an integer from 1 to 99, got 1.5'],
  ['resize', ['3'], '`resize` takes the new cluster size, an integer from 1 to 99, got a string'],
  [
    'recover',
    [{ iUnderstandThatActionsMayBeLost: true, after: 1 }],
    'the option "after" is unknown; there are "timeout", "signal"'
  ]
]

test('what cannot be is refused by name', async t => {
  const node = openOne(t)
  for (const [verb, args, message] of wrong) {
    const error = await rejection(node[verb](...args))
    assert.equal(String(error), `Error: ${message}`)
    assert.equal(error.code, 'ERR_CONFLUX_INVALID_ARGUMENT')
  }
})

test('recover is not done without a word that it is understood', async t => {
  const node = openOne(t)
  for (const options of [undefined, null, {}, { iUnderstandThatActionsMayBeLost: 1 }]) {
    const error = await rejection(node.recover(options))
    assert.equal(error.code, 'ERR_CONFLUX_INVALID_ARGUMENT')
    assert.match(error.message, /acknowledged.* pass \{ iUnderstandThatActionsMayBeLost: true \}$/)
  }
})

test('a node that has ended is asked nothing, and what was asked before ends with it', async t => {
  // One of three nodes: it has no leader to ask.
  const [node] = openCluster(t, 1, { clusterSize: 3 })
  const asking = rejection(node.sync({ timeout: 60_000 }))
  const closing = node.close()
  assert.equal((await rejection(node.sync())).code, 'ERR_CONFLUX_CLOSED')
  await closing
  assert.equal((await asking).code, 'ERR_CONFLUX_CLOSED')
  const error = await rejection(node.remove('b'))
  assert.deepEqual([error.code, error.message], ['ERR_CONFLUX_CLOSED', 'this node is closed'])
})
