// Shows that a method which decides by the provisional state decides for the whole cluster.

'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')

const { openCluster, until } = require('./nodes')

const lock = {
  methods: {
    acquire(owner) {
      if (this.getProvisionalState().owner !== null) return new Error('taken')
      return { type: 'acquire', owner }
    },
    release(owner) {
      if (this.getProvisionalState().owner !== owner) return new Error('not yours')
      return { type: 'release' }
    }
  },
  reduce(state = { owner: null, granted: 0 }, action) {
    switch (action?.type) {
      case 'acquire':
        return { owner: action.owner, granted: state.granted + 1 }
      case 'release':
        return { ...state, owner: null }
      default:
        return state
    }
  }
}

test('of 1,000 concurrent performers from all nodes exactly one gets the lock, ten times over', async t => {
  const nodes = openCluster(t, 3, lock)
  for (let round = 1; round <= 10; round++) {
    const performers = Array.from({ length: 1000 }, (_, i) => ({
      node: nodes[i % 3],
      owner: `${round}/${i}`
    }))
    const results = await Promise.allSettled(
      performers.map(({ node, owner }) => node.perform('acquire', [owner]))
    )
    const winners = performers.filter((_, i) => results[i].status === 'fulfilled')
    assert.equal(winners.length, 1)
    for (const { reason } of results.filter(result => result.status === 'rejected')) {
      assert.deepEqual([reason.message, reason.outcome], ['taken', 'refused'])
    }
    const [{ node, owner }] = winners
    assert.deepEqual(node.getState(), { owner, granted: round })
    await node.perform('release', [owner])
  }
  for (const node of nodes) {
    await until(
      'every node to apply all',
      () => node.getState().granted === 10 && node.getState().owner === null
    )
  }
})
