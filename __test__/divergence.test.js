// Shows what becomes of a node whose state is not to be trusted: it is readable, honest, and restored once.

'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')

const { elected, list, openCluster, openOne, rejection, runScript, until } = require('./nodes')

/** A cluster of three in which one follower's reducer throws on `poison` for as long as `isPoisoned()`. */
async function openPoisoned(t, given = {}) {
  const poisoned = { id: null }
  const nodes = openCluster(t, 3, id => ({
    reduce(state, action) {
      if (action === 'poison' && id === poisoned.id) throw new Error('indigestible here')
      return list.reduce(state, action)
    },
    ...given
  }))
  const { leader, followers } = await elected(nodes)
  const [target, other] = followers
  poisoned.id = target.status().id
  return { leader, target, other, poisoned }
}

test('a reducer that throws on a committed action makes its own node diverge; the state before it stays, the others go on', async t => {
  const { leader, target, other } = await openPoisoned(t)
  await leader.perform('append', ['fine'])
  await target.sync()
  const diverged = new Promise(resolve => target.on('diverged', resolve))
  assert.equal(await leader.perform('append', ['poison']), 'poison')
  const error = await diverged
  assert.equal(error.code, 'ERR_CONFLUX_DIVERGED')
  assert.ok(Number.isInteger(error.index))
  assert.equal(error.action, 'poison')
  assert.equal(error.cause.message, 'indigestible here')
  assert.match(error.message, /the reducer threw on the action "poison": indigestible here$/)
  assert.deepEqual([target.getState(), target.status().state], [['fine'], 'open'])

  await other.perform('append', ['on'])
  assert.deepEqual(other.getState(), ['fine', 'poison', 'on'])
})

test('the calls of a diverged node end honestly', async t => {
  const { target } = await openPoisoned(t)
  target.on('diverged', () => {})
  const poison = await rejection(target.perform('append', ['poison']))
  assert.deepEqual([poison.code, poison.outcome], ['ERR_CONFLUX_DIVERGED', 'unknown'])
})

test('a diverged node is restored once by the state of the leader, and stays diverged the second time', async t => {
  const { leader, target } = await openPoisoned(t)
  const events = []
  target.on('diverged', () => events.push('diverged'))
  target.on('restored', () => events.push('restored'))
  await leader.perform('append', ['poison'])
  await until('it to be restored', () => events.includes('restored'))
  await target.sync()
  assert.deepEqual(target.getState(), ['poison'])
  assert.equal(target.status().diverged, null)
  assert.equal(await target.perform('append', ['serves']), 'serves')

  await leader.perform('append', ['poison'])
  await until('it to diverge again', () => target.status().diverged !== null)
  const { message, outcome } = await rejection(target.perform('append', ['late']))
  assert.equal(outcome, 'not-applied')
  assert.match(message, /indigestible here/)
  assert.equal((await rejection(target.sync({ timeout: 1000 }))).code, 'ERR_CONFLUX_DIVERGED')
  assert.deepEqual(events, ['diverged', 'restored', 'diverged'])
})

test('a node whose state differs from that of most others is found and diverged', async t => {
  // Depends on the node, as a reducer must not.
  const nodes = openCluster(t, 3, id => ({
    reduce: (state, action) =>
      action === 'odd' && id === 'b' ? [...state, 'even'] : list.reduce(state, action)
  }))
  const { leader } = await elected(nodes)
  const diverged = new Promise(resolve => nodes[1].on('diverged', resolve))
  await leader.perform('append', ['odd'])
  const { code } = await diverged
  assert.equal(code, 'ERR_CONFLUX_DIVERGED')
  for (const node of [nodes[0], nodes[2]]) assert.equal(node.status().diverged, null)
})

test('states are not compared where that is off, nor across versions', async t => {
  for (const given of [{ compareStates: false }, { version: null }]) {
    const nodes = openCluster(t, 3, id => ({
      reduce: (state, action) => (action === null ? [] : [...state, id]),
      ...given,
      ...(given.version === null ? { version: id } : {})
    }))
    const diverged = []
    for (const node of nodes) node.on('diverged', error => diverged.push(error))
    const { leader } = await elected(nodes)
    const end = Date.now() + 2500
    while (Date.now() < end) await leader.perform('append', ['x'])
    assert.deepEqual(diverged, [])
  }
})

test('a state that is not JSON is no snapshot, says so, and harms no other node', async t => {
  const node = openOne(t, {
    reduce: (state, action) => (action === null ? new Map() : new Map(state).set(action, 1)),
    snapshot: { entries: 10 },
    checkState: false
  })
  const warned = new Promise(resolve => node.on('warning', resolve))
  await Promise.all(Array.from({ length: 50 }, (_, i) => node.perform('append', [i])))
  const warning = await warned
  assert.equal(warning.code, 'WARN_CONFLUX_SNAPSHOT_FAILED')
  assert.match(warning.why, /^state is a Map, which JSON turns into \{\}/)
  assert.equal(node.status().snapshotIndex, 0)
  assert.equal(await node.perform('append', ['on']), 'on')
})

test('without a listener a divergence is a warning on stderr, and the process lives', async () => {
  const { code, stdout, stderr } = await runScript(`
    const channel = { name: 'memory' }
    let target
    const nodes = ['a', 'b', 'c'].map(id => conflux({ ...options, id, clusterSize: 3, reduce (state, action) {
      if (action === 'poison' && id === target) throw new Error('indigestible')
      return action
    } }))
    Promise.all(nodes.map(node => node.ready())).then(async () => {
      const follower = nodes.find(node => node.status().role === 'follower')
      target = follower.status().id
      await follower.perform('append', ['poison']).catch(error => console.log(error.code))
      await new Promise(resolve => process.once('warning', resolve))
      await Promise.all(nodes.map(node => node.close()))
      console.log('alive')
    })
  `)
  assert.equal(stdout, 'ERR_CONFLUX_DIVERGED\nalive\n')
  assert.match(stderr, /\[WARN_CONFLUX_DIVERGED\] ConfluxWarning: conflux node "[abc]": .*indigestible/)
  assert.equal(code, 0)
})
