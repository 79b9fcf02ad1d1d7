// Shows the option `initialState`: a value or a function, and a reducer that is only called for actions.

'use strict'

const assert = require('node:assert/strict')
const path = require('node:path')
const test = require('node:test')

const { createSlice } = require('@reduxjs/toolkit')

const conflux = require('..')
const { elected, makeFolder, openCluster, openOne, rejection, until } = require('./nodes')

const methods = { add: n => n }

/** Fails if it is asked for anything but the state after an action. */
function reduce(state, action) {
  assert.ok(state !== undefined && state !== null, `the reducer got the state ${state}`)
  assert.ok(action !== undefined && action !== null, `the reducer got the action ${action}`)
  return { ...state, sum: state.sum + action }
}

function thrownBy(options) {
  try {
    conflux({ id: 'a', clusterSize: 1, channel: { name: 'memory' }, methods, reduce, ...options }).close()
  } catch (error) {
    return error
  }
  throw new assert.AssertionError({ message: 'the options were accepted' })
}

for (const [what, initialState] of [
  ['a value', { sum: 1 }],
  ['a function', () => ({ sum: 1 })]
]) {
  test(`${what} is the state before the first action; the reducer gets a state and an action, always`, async t => {
    const nodes = openCluster(t, 3, { methods, reduce, initialState })
    for (const node of nodes) assert.deepEqual(node.getState(), { sum: 1 })
    await elected(nodes)
    await Promise.all(nodes.map(node => node.perform('add', [2])))
    await until('all nodes to reduce all', () => nodes.every(node => node.getState().sum === 7))
  })
}

test('null, 0, false and the empty string are states', async t => {
  for (const initialState of [null, 0, false, '']) {
    const node = openOne(t, { methods, initialState, reduce: (state, action) => [state, action] })
    assert.equal(node.getState(), initialState)
    await node.perform('add', [2])
    assert.deepEqual(node.getState(), [initialState, 2])
  }
})

test('undefined is no initial state: the reducer is asked, as in 1.x', t => {
  const node = openOne(t, { methods, initialState: undefined, reduce: (state = 7) => state })
  assert.equal(node.getState(), 7)
})

test("the given object stays its owner's: not frozen, and changes of it are not seen", async t => {
  const given = { sum: 1, list: ['a'] }
  const node = openOne(t, { methods, reduce, initialState: given })
  given.list.push('b')
  given.sum = 100
  assert.deepEqual(node.getState(), { sum: 1, list: ['a'] })
  assert.ok(Object.isFrozen(node.getState().list))
  // A reducer that writes to it is refused, as for any other state.
  const strict = openOne(t, {
    methods,
    initialState: given,
    reduce(state, action) {
      'use strict'
      state.sum += action
      return state
    }
  })
  const error = await rejection(strict.perform('add', [1]))
  assert.equal(error.code, 'ERR_CONFLUX_REDUCER')
  assert.equal(error.path, 'state.sum')
})

test('one that is not JSON is an invalid option, and the message says where and why', () => {
  const cyclic = { list: [] }
  cyclic.list.push(cyclic)
  for (const [initialState, fault] of [
    [{ users: [{ at: new Date(0) }] }, /^"initialState"\.users\[0\]\.at is a Date, which JSON turns into/],
    [new Map(), /^"initialState" is a Map, which JSON turns into \{\}/],
    [() => ({ sum: NaN }), /^"initialState"\.sum is NaN, which JSON turns into null/],
    [() => undefined, /^"initialState" is undefined/],
    [cyclic, /^"initialState"\.list\[0\] contains itself/]
  ]) {
    const error = thrownBy({ initialState })
    assert.equal(error.code, 'ERR_CONFLUX_INVALID_OPTIONS')
    assert.equal(error.faults.length, 1)
    assert.match(error.faults[0], fault)
    assert.equal(error.message, `Invalid options: ${error.faults[0]}`)
  }
})

test('a function that throws, or returns a promise, is named, with its cause', () => {
  const cause = new Error('no file')
  const error = thrownBy({
    initialState() {
      throw cause
    }
  })
  assert.equal(error.code, 'ERR_CONFLUX_INVALID_OPTIONS')
  assert.equal(error.message, 'Invalid options: "initialState" threw: no file')
  assert.equal(error.cause, cause)
  assert.match(
    thrownBy({ initialState: async () => 1 }).message,
    /"initialState" threw: it returned a promise/
  )
})

test('without checkState and with serialize it is used as it is', async t => {
  const map = new Map([['a', 1]])
  for (const options of [
    { checkState: false },
    { snapshot: { serialize: map => [...map], deserialize: entries => new Map(entries) } }
  ]) {
    const node = openOne(t, {
      methods,
      initialState: map,
      reduce: (state, n) => new Map(state).set('b', n),
      ...options
    })
    assert.equal(node.getState(), map)
    await node.perform('add', [2])
    assert.deepEqual([...node.getState().keys()], ['a', 'b'])
  }
})

test('a node that comes back from its disk, before and after a snapshot, has its state again', async t => {
  const folder = makeFolder(t)
  for (const entries of [1000, 3]) {
    const options = {
      methods,
      reduce,
      initialState: () => ({ sum: 1 }),
      storage: { path: path.join(folder, String(entries)) },
      snapshot: { entries }
    }
    const before = openOne(t, options)
    await before.ready()
    for (let i = 0; i < 10; i++) await before.perform('add', [1])
    if (entries === 3) await until('a snapshot', () => before.status().snapshotIndex > 0)
    await before.close()
    const after = openOne(t, options)
    await after.ready()
    assert.deepEqual(after.getState(), { sum: 11 })
    await after.close()
  }
})

test('a newcomer gets the state by a snapshot, and a slice of Redux Toolkit needs nothing else', async t => {
  const slice = createSlice({
    name: 'list',
    initialState: [],
    reducers: { added: (state, { payload }) => void state.push(payload) }
  })
  const nodes = openCluster(t, 3, {
    methods: slice.actions,
    reduce: slice.reducer,
    initialState: slice.getInitialState,
    snapshot: { entries: 5 }
  })
  await elected(nodes)
  for (let i = 0; i < 20; i++) await nodes[i % 3].perform('added', [i])
  await until('all nodes to reduce all', () => nodes.every(node => node.getState().length === 20))
})
