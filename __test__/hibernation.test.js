// Shows which idle stores hibernate, and that they wake whenever something happens; many-stores.test.js shows the same
// across processes.

'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')

const { elected, openCluster, openOne, until } = require('./nodes')

/** A process with no more stores has few: none hibernates. */
const FEW = 8

const calm = {
  methods: {
    append: thing => thing,
    later(thing) {
      this.schedule('later', { at: this.now() + 3_600_000, method: 'append', args: [thing] })
    }
  }
}

const hibernating = nodes => nodes.filter(node => node.status().hibernating)

async function openStores(t, count) {
  const stores = Array.from({ length: count }, () => openOne(t, calm))
  await Promise.all(stores.map(store => store.ready()))
  return stores
}

test('idle stores hibernate where a process has many, and wake where it has few again', async t => {
  const stores = await openStores(t, FEW)
  const [last] = await openStores(t, 1)
  await until('all to hibernate', () => hibernating([...stores, last]).length === FEW + 1)
  await last.close()
  assert.equal(last.status().hibernating, false)
  await until('all to be awake', () => hibernating(stores).length === 0)
})

test('a call wakes a store, on any node, and is served as usual', async t => {
  const others = await openStores(t, FEW)
  const nodes = openCluster(t, 3)
  await Promise.all(nodes.map(node => node.ready()))
  const { leader, followers } = await elected(nodes)
  for (const node of [leader, ...followers]) {
    await until('all to hibernate', () => hibernating([...nodes, ...others]).length === nodes.length + FEW)
    const { id } = node.status()
    await node.perform('append', [id])
    assert.equal(node.status().hibernating, false)
    assert.equal(node.getState().at(-1), id)
    assert.equal(leader.status().role, 'leader')
  }
  await until('all to hibernate', () => hibernating(nodes).length === nodes.length)
  await followers[0].sync()
  assert.equal(hibernating(others).length, FEW, 'the others are left alone')
})

test('a store with sessions or timers never hibernates', async t => {
  const others = await openStores(t, FEW)
  const withSessions = openOne(t, { ...calm, sessions: true })
  const withTimer = openOne(t, calm)
  await Promise.all([withSessions.ready(), withTimer.ready()])
  await withTimer.perform('later', ['x'])
  // What came last is idle for as long as these when it hibernates.
  const [last] = await openStores(t, 1)
  await until('the others to hibernate', () => hibernating([...others, last]).length === FEW + 1)
  assert.deepEqual(hibernating([withSessions, withTimer]), [])
  await withTimer.unschedule('later')
  await until('the store without a timer to hibernate', () => hibernating([withTimer]).length === 1)
})
