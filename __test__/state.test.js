// Shows what the two states are.

'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')

const conflux = require('..')
const { list, openCluster, openOne, rejection, until } = require('./nodes')

test('the initial state is what the reducer makes of undefined and null', t => {
  const calls = []
  const node = openOne(t, {
    reduce(...args) {
      calls.push(args)
      return 'initial'
    }
  })
  assert.deepEqual(calls, [[undefined, null]])
  assert.equal(node.getState(), 'initial')
  assert.equal(node.getProvisionalState(), 'initial')
})

test('a Redux reducer, which reads action.type, starts with an action of its kind', async t => {
  const node = openOne(t, {
    methods: { add: n => ({ type: 'add', n }) },
    reduce: (state = 0, action) => (action.type === 'add' ? state + action.n : state)
  })
  assert.equal(node.getState(), 0)
  await node.perform('add', [2])
  assert.equal(node.getState(), 2)
})

test('a reducer without an initial state is an error at once, with its cause', () => {
  const cause = new Error('no')
  const reduce = () => {
    throw cause
  }
  const options = { id: 'a', clusterSize: 1, channel: { name: 'memory' }, methods: {}, reduce }
  assert.throws(() => conflux(options), { code: 'ERR_CONFLUX_REDUCER', cause, message: /initial state: no$/ })
  assert.throws(() => conflux({ ...options, reduce: async () => {} }), { code: 'ERR_CONFLUX_REDUCER' })
})

test('the state is the same reference until the next action', async t => {
  const node = openOne(t)
  const before = node.getState()
  await node.perform('append', ['x'])
  const after = node.getState()
  assert.notEqual(after, before)
  assert.equal(node.getState(), after)
  await rejection(node.perform('zooby'))
  assert.equal(node.getState(), after)
})

test('an action is reduced once, on the leader too', async t => {
  const reduced = []
  const node = openOne(t, {
    reduce(state, action) {
      if (action !== null) reduced.push(action)
      return list.reduce(state, action)
    }
  })
  const numbers = Array.from({ length: 10_000 }, (_, i) => i)
  await Promise.all(numbers.map(number => node.perform('append', [number])))
  assert.deepEqual(reduced, numbers)
  assert.deepEqual(node.getState(), numbers)
})

test('in a method, the provisional state is what its action will be applied to', async t => {
  const nodes = openCluster(t, 3, {
    methods: {
      append() {
        assert.deepEqual(this.getProvisionalState().slice(0, this.getState().length), this.getState())
        return this.getProvisionalState().length
      }
    }
  })
  await Promise.all(nodes.flatMap(node => Array.from({ length: 300 }, () => node.perform('append'))))
  const numbers = Array.from({ length: 900 }, (_, i) => i)
  for (const node of nodes) {
    await until('every node to apply all', () => node.getState().length === 900)
    assert.deepEqual(node.getState(), numbers)
    assert.equal(node.getProvisionalState(), node.getState())
  }
})
