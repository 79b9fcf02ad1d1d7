// This file shows what the two states are, and what a reducer that throws does to its own node only.

'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')

const conflux = require('..')
const { elected, list, openCluster, openOne, rejection, runScript, until } = require('./nodes')

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

test('a reducer that throws on a committed action ends its own node; the state before it stays, the others go on', async t => {
  let victim
  const nodes = openCluster(t, 3, id => ({
    reduce(state, action) {
      if (action === 'poison' && id === victim) throw new Error('indigestible here')
      return list.reduce(state, action)
    }
  }))
  const { leader, followers } = await elected(nodes)
  const [fenced, other] = followers
  victim = fenced.status().id
  await leader.perform('append', ['fine'])

  const failed = new Promise(resolve => fenced.on('error', resolve))
  const closed = new Promise(resolve => fenced.on('close', resolve))
  assert.equal(await leader.perform('append', ['poison']), 'poison')
  const error = await failed
  await closed
  assert.equal(error.code, 'ERR_CONFLUX_FENCED')
  assert.equal(error.action, 'poison')
  assert.equal(error.cause.message, 'indigestible here')
  assert.ok(Number.isInteger(error.index))
  assert.match(error.message, /indigestible here$/)

  assert.deepEqual(fenced.getState(), ['fine'])
  const status = fenced.status()
  assert.deepEqual([status.state, status.role, status.leader], ['failed', 'follower', null])
  assert.deepEqual(status.failure, { code: error.code, message: error.message })
  const late = await rejection(fenced.perform('append', ['late']))
  assert.deepEqual([late.code, late.outcome, late.cause], ['ERR_CONFLUX_FENCED', 'not-applied', error])
  assert.throws(() => fenced.subscribe(() => {}), { code: 'ERR_CONFLUX_FENCED' })
  assert.equal((await rejection(fenced.ready())).code, 'ERR_CONFLUX_FENCED')
  await fenced.close()

  await other.perform('append', ['on'])
  assert.deepEqual(other.getState(), ['fine', 'poison', 'on'])
})

test("a fenced node's performs on their way end with an unknown outcome", async t => {
  let victim
  const nodes = openCluster(t, 3, id => ({
    reduce(state, action) {
      if (action === 'poison' && id === victim) throw new Error('indigestible here')
      return list.reduce(state, action)
    }
  }))
  const { followers } = await elected(nodes)
  const [fenced] = followers
  fenced.on('error', () => {})
  victim = fenced.status().id
  const error = await rejection(fenced.perform('append', ['poison']))
  assert.deepEqual([error.code, error.outcome], ['ERR_CONFLUX_FENCED', 'unknown'])
})

test('where nobody listens for it, a failure is one line on stderr, and the process lives', async () => {
  const { code, stdout, stderr } = await runScript(`
    const channel = { name: 'memory' }
    let victim
    const nodes = ['a', 'b', 'c'].map(id => conflux({ ...options, id, clusterSize: 3, reduce (state, action) {
      if (action === 'poison' && id === victim) throw new Error('indigestible')
      return action
    } }))
    Promise.all(nodes.map(node => node.ready())).then(async () => {
      const follower = nodes.find(node => node.status().role === 'follower')
      victim = follower.status().id
      await follower.perform('append', ['poison']).catch(error => console.log(error.code))
      await Promise.all(nodes.map(node => node.close()))
      console.log('alive')
    })
  `)
  assert.equal(stdout, 'ERR_CONFLUX_FENCED\nalive\n')
  assert.match(stderr, /^conflux node "[abc]" failed: .*indigestible.* \(ERR_CONFLUX_FENCED\)\n$/)
  assert.equal(code, 0)
})
