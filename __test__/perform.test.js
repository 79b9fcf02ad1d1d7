// Shows what `perform` promises when all is well: its forms, its result, its order, its timeout.

'use strict'

const assert = require('node:assert/strict')
const { AsyncLocalStorage } = require('node:async_hooks')
const test = require('node:test')

const { elected, list, openCluster, openOne, rejection, until } = require('./nodes')

test('perform resolves with the action once the state of the calling node contains it', async t => {
  for (const node of openCluster(t, 3)) {
    const before = node.getState().length
    assert.equal(await node.perform('append', ['x']), 'x')
    assert.ok(node.getState().length > before)
    assert.equal(node.getState().at(-1), 'x')
  }
})

test('subscribers have run before perform resolves', async t => {
  const node = openOne(t)
  const events = []
  node.subscribe(() => events.push('subscriber'))
  await node.perform('append', ['x']).then(() => events.push('resolved'))
  assert.deepEqual(events, ['subscriber', 'resolved'])
})

test('arguments and timeout may be left out', async t => {
  const node = openOne(t, { methods: { count: (...args) => args.length, ...list.methods } })
  assert.equal(await node.perform('count'), 0)
  assert.equal(await node.perform('count', null), 0)
  assert.equal(await node.perform('count', undefined, undefined), 0)
  assert.equal(await node.perform('count', [1, 2], 5000), 2)
  // 1.x used -1 for "no limit".
  for (const timeout of [null, undefined, -1, 2147483647])
    assert.equal(await node.perform('count', [1], timeout), 1)
})

test('the callback forms of 1.x', async t => {
  const node = openOne(t, { methods: { ...list.methods, nothing: () => null, no: () => new Error('no') } })
  const call = (...args) => new Promise(resolve => node.perform(...args, (...results) => resolve(results)))
  assert.deepEqual(await call('append', ['x']), [null, 'x'])
  assert.deepEqual(await call('append', ['y'], 5000), [null, 'y'])
  assert.deepEqual(await call('nothing', []), [null, undefined])
  const [error, ...rest] = await call('no', [], 5000)
  assert.equal(error.message, 'no')
  assert.deepEqual(rest, [])
  const [invalid] = await call('append', 'x')
  assert.equal(invalid.code, 'ERR_CONFLUX_INVALID_ARGUMENT')
  assert.equal(
    node.perform('append', ['z'], () => {}),
    undefined
  )
})

test("a callback runs in its caller's async context", async t => {
  const node = openOne(t)
  const storage = new AsyncLocalStorage()
  const store = await new Promise(resolve =>
    storage.run('mine', () => node.perform('append', ['x'], () => resolve(storage.getStore())))
  )
  assert.equal(store, 'mine')
})

test('a method that returns nothing changes nothing', async t => {
  const node = openOne(t, { methods: { nothing: () => null, undef() {}, ...list.methods } })
  await node.ready()
  const { lastIndex } = node.status()
  node.subscribe(() => assert.fail('nothing was committed'))
  for (const method of ['nothing', 'undef']) assert.equal(await node.perform(method), undefined)
  assert.equal(node.status().lastIndex, lastIndex)
  assert.deepEqual(node.getState(), [])
})

test('falsy actions are actions', async t => {
  const node = openOne(t)
  for (const action of [0, '', false]) assert.equal(await node.perform('append', [action]), action)
  assert.deepEqual(node.getState(), [0, '', false])
})

test('a method runs once, on the leader, `this` being its node', async t => {
  const ran = []
  const nodes = openCluster(t, 3, id => ({
    methods: {
      where() {
        ran.push(id)
        assert.equal(this.status().id, id)
        return id
      }
    }
  }))
  const { leader, followers } = await elected(nodes)
  const id = leader.status().id
  assert.equal(await followers[0].perform('where'), id)
  assert.equal(await leader.perform('where'), id)
  assert.deepEqual(ran, [id, id])
})

test('all see what JSON keeps: methods, reducers on every node, and the caller', async t => {
  const seen = []
  const nodes = openCluster(t, 3, {
    methods: {
      at(date, absent) {
        seen.push(typeof date, absent)
        return { at: new Date(0), gone: undefined, date }
      }
    }
  })
  const { leader } = await elected(nodes)
  const action = { at: '1970-01-01T00:00:00.000Z', date: '1970-01-01T00:00:00.001Z' }
  assert.deepEqual(await leader.perform('at', [new Date(1), undefined]), action)
  assert.deepEqual(seen, ['string', null])
  await until('every node to apply it', () => nodes.every(node => node.getState().length === 1))
  for (const node of nodes) assert.deepEqual(node.getState(), [action])
})

test('what a caller does to its action is not seen in the state', async t => {
  const nodes = openCluster(t, 3)
  await elected(nodes)
  for (const node of nodes) {
    const given = { tags: ['a'] }
    const performing = node.perform('append', [given])
    given.tags.push('too late')
    const action = await performing
    action.tags.push('mine')
    assert.deepEqual(node.getState().at(-1), { tags: ['a'] })
  }
})

test("one node's calls are evaluated in the order of their calls, also those held before there is a leader", async t => {
  const nodes = openCluster(t, 3)
  const numbers = Array.from({ length: 1000 }, (_, i) => i)
  await Promise.all(
    nodes.flatMap((node, n) => numbers.map(number => node.perform('append', [{ node: n, number }])))
  )
  for (const node of nodes) {
    await until('every node to apply all', () => node.getState().length === 3000)
    assert.deepEqual(node.getState(), nodes[0].getState())
  }
  for (const n of nodes.keys()) {
    const own = nodes[0].getState().filter(action => action.node === n)
    assert.deepEqual(
      own.map(action => action.number),
      numbers
    )
  }
})

test('a timeout ends the wait; what has gone nowhere by then is not applied', async t => {
  // One of three nodes: it has no leader.
  const [node] = openCluster(t, 1, { clusterSize: 3 })
  for (const timeout of [0, 20]) {
    const error = await rejection(node.perform('append', ['x'], timeout))
    assert.equal(error.code, 'ERR_CONFLUX_TIMEOUT')
    assert.equal(error.outcome, 'not-applied')
    assert.equal(error.timeout, timeout)
    assert.match(error.message, /^performing `append`: the call timed out after/)
  }
  const [error] = await new Promise(resolve => node.perform('append', [], 1, (...args) => resolve(args)))
  assert.equal(error.code, 'ERR_CONFLUX_TIMEOUT')
  assert.equal(node.status().pending, 0)
})

test('a call whose arguments are out of order is refused, and says how', async t => {
  const node = openOne(t)
  const refused = { code: 'ERR_CONFLUX_INVALID_ARGUMENT', outcome: 'not-applied' }
  await assert.rejects(
    node.perform('append', () => {}),
    {
      ...refused,
      message: 'the arguments must be an array, got a function: the callback comes after the arguments'
    }
  )
  await assert.rejects(node.perform('append', 'x', 'y'), {
    ...refused,
    message: 'the arguments must be an array, got a string'
  })
  await assert.rejects(node.perform('append', ['x'], 10, 'callback'), {
    ...refused,
    message: 'the callback must be a function, got a string'
  })
  // A callback gets it; a timeout behind it would count for nothing.
  const error = await new Promise(resolve => node.perform('append', ['x'], resolve, { timeout: 10 }))
  assert.equal(error.message, 'the options of `perform` come before the callback')
  assert.equal(error.code, refused.code)
  assert.equal(error.outcome, refused.outcome)
  assert.deepEqual(node.getState(), [])
  // As in 1.x.
  assert.equal(
    await new Promise(resolve => node.perform('append', ['x'], (_, action) => resolve(action), 10)),
    'x'
  )
})

test('invalid arguments reject the call, which then has no effect', async t => {
  const node = openOne(t)
  const cases = [
    ['append', 'x'],
    ['append', { 0: 'x', length: 1 }],
    ['append', 1],
    ['append', ['x'], NaN],
    ['append', ['x'], Infinity],
    ['append', ['x'], -2],
    ['append', ['x'], '10'],
    ['append', ['x'], 2147483648],
    ['append', ['x'], 10, 'callback'],
    [undefined],
    [1],
    [{ toString: () => 'append' }],
    [Symbol('append')],
    ['\ud800'],
    ['x'.repeat(1025)]
  ]
  for (const args of cases) {
    const error = await rejection(node.perform(...args))
    assert.equal(error.code, 'ERR_CONFLUX_INVALID_ARGUMENT')
    assert.equal(error.outcome, 'not-applied')
    assert.equal(error.name, 'Error')
  }
  assert.equal(await node.perform('append', ['y']), 'y')
  assert.deepEqual(node.getState(), ['y'])
})
