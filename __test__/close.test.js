// Shows how a node ends when it is asked to.

'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')

const { elected, openCluster, openOne, rejection, until } = require('./nodes')

test('close is idempotent: the same promise, and every callback is called', async t => {
  const node = openOne(t)
  await node.ready()
  let closes = 0
  node.on('close', () => closes++)
  const closing = node.close()
  assert.equal(node.close(), closing)
  assert.equal(await closing, undefined)
  assert.equal(node.close(), closing)
  const errors = await Promise.all([1, 2].map(() => new Promise(resolve => node.close(resolve))))
  assert.deepEqual(errors, [null, null])
  assert.equal(closes, 1)
  assert.equal(node.status().state, 'closed')
})

test('what close cannot take is refused at once, and closes nothing', async t => {
  const node = openOne(t)
  const wrong = [
    ['callback'],
    [{}, 'callback'],
    [1],
    [{ timeout: -1 }],
    [{ timeout: '1' }],
    [{ timeout: Infinity }],
    [{ leave: 'yes' }],
    [{ leaves: true }]
  ]
  for (const args of wrong) {
    assert.throws(() => node.close(...args), { name: 'TypeError', code: 'ERR_CONFLUX_INVALID_ARGUMENT' })
  }
  assert.equal(await node.perform('append', ['x']), 'x')
})

test('close takes options, a callback, or both', async t => {
  assert.equal(await openOne(t).close({ timeout: 100, leave: false }), undefined)
  assert.equal(await openOne(t).close({}), undefined)
  for (const args of [[], [{ timeout: 100 }], [null], [undefined]]) {
    const node = openOne(t)
    let returned
    const error = await new Promise(resolve => (returned = node.close(...args, resolve)))
    assert.deepEqual([error, returned], [null, undefined])
    assert.equal(node.status().state, 'closed')
  }
})

test('after close the state can be read, and nothing else happens', async t => {
  const node = openOne(t)
  await node.perform('append', ['x'])
  const closing = node.close()
  for (const when of ['while closing', 'closed']) {
    const error = await rejection(node.perform('append', ['y']))
    assert.deepEqual([error.code, error.outcome], ['ERR_CONFLUX_CLOSED', 'not-applied'], when)
    assert.equal(error.message, 'this node is closed')
    assert.throws(() => node.subscribe(() => {}), { code: 'ERR_CONFLUX_CLOSED' })
    assert.equal((await rejection(node.ready())).code, 'ERR_CONFLUX_CLOSED')
    assert.deepEqual(node.getState(), ['x'])
    assert.deepEqual(node.getProvisionalState(), ['x'])
    await closing
  }
  const status = node.status()
  assert.deepEqual(
    [status.role, status.leader, status.pending, status.waitingFor],
    ['follower', null, 0, null]
  )
  node.unref().ref()
})

test('what never reached a leader did not happen', async t => {
  // One of three nodes: it has no leader.
  const [node] = openCluster(t, 1, { clusterSize: 3 })
  const before = node.perform('append', ['x'])
  await new Promise(resolve => setImmediate(resolve))
  const sameTurn = node.perform('append', ['y'])
  const rejections = Promise.all([before, sameTurn, node.ready()].map(rejection))
  await node.close()
  for (const error of await rejections) {
    assert.deepEqual([error.code, error.outcome], ['ERR_CONFLUX_CLOSED', 'not-applied'])
  }
})

test('every pending call is settled by close, with an accurate outcome', async t => {
  const nodes = openCluster(t, 3)
  const { leader, followers } = await elected(nodes)
  const [closing, other] = followers
  const performing = Promise.allSettled(Array.from({ length: 500 }, (_, i) => closing.perform('append', [i])))
  await closing.close()
  const results = await performing
  await leader.perform('append', ['last'])
  await until('the other node to apply all', () => other.getState().at(-1) === 'last')
  const applied = new Set(other.getState())
  for (const [i, { status, reason }] of results.entries()) {
    if (status === 'fulfilled') assert.ok(applied.has(i), `${i} was acknowledged`)
    else if (reason.outcome === 'not-applied') assert.ok(!applied.has(i), `${i} did not happen`)
    else assert.deepEqual([reason.code, reason.outcome], ['ERR_CONFLUX_CLOSED', 'unknown'])
  }
})

test('the others go on when the leader closes', async t => {
  const nodes = openCluster(t, 3)
  const { leader, followers } = await elected(nodes)
  await followers[0].perform('append', ['before'])
  await leader.close()
  await followers[0].perform('append', ['after'])
  assert.deepEqual(followers[0].getState(), ['before', 'after'])
})

test('all nodes of a cluster can be closed at once', async t => {
  const nodes = openCluster(t, 5)
  await elected(nodes)
  await Promise.all(nodes.map(node => node.close()))
  for (const node of nodes) assert.equal(node.status().state, 'closed')
})
