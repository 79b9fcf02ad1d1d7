// Shows that what JSON cannot carry is refused by the first action that would put it into the state.

'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')
const vm = require('node:vm')

const conflux = require('..')
const { budgets } = require('../lib/budget')
const { elected, openCluster, openOne, rejection, until } = require('./nodes')

class Point {
  x = 1
}

const cyclic = () => {
  const value = { parts: [{}] }
  value.parts[0].whole = value
  return value
}

const nested = (levels, value = 0) => {
  for (let i = 0; i < levels; i++) value = { a: value }
  return value
}

/** What a reducer might put into the state, where the fault is in it, and what is said of it. */
const FAULTS = [
  [() => new Date(0), '', 'is a Date, which JSON turns into a string'],
  [() => new Map([[1, 2]]), '', 'is a Map, which JSON turns into {}'],
  [() => new Set([1]), '', 'is a Set, which JSON turns into {}'],
  [() => new Point(), '', 'is a Point, which JSON turns into an ordinary object'],
  [() => new Uint8Array(2), '', 'is a Uint8Array, which JSON turns into an ordinary object'],
  [() => Buffer.from('x'), '', 'is a Buffer, which JSON turns into what its `toJSON` returns'],
  [() => /x/, '', 'is a RegExp, which JSON turns into an ordinary object'],
  [() => new Error('x'), '', 'is an Error, which JSON turns into an ordinary object'],
  [() => NaN, '', 'is NaN, which JSON turns into null'],
  [() => -Infinity, '', 'is -Infinity, which JSON turns into null'],
  [() => 1n, '', 'is a BigInt, which JSON does not know'],
  [() => () => 1, '', 'is a function, which JSON does not know'],
  [() => Symbol('x'), '', 'is a symbol, which JSON does not know'],
  [() => ({ [Symbol('x')]: 1 }), '', 'has the key Symbol(x), which JSON leaves out'],
  [() => [undefined], '[0]', 'is undefined, which JSON does not know'],
  // prettier-ignore
  [() => [1, , 3], '[1]', 'is undefined, which JSON does not know'],
  [() => new Array(1), '[0]', 'is undefined, which JSON does not know'],
  [() => Object.assign([1], { extra: 2 }), '', 'has the key extra, which JSON leaves out of an array'],
  [() => Object.create(null), '', 'has no prototype, and comes back from JSON with one'],
  [() => Object.create({ x: 1 }), '', 'is an Object, which JSON turns into an ordinary object'],
  [
    () => Object.defineProperty({}, 'x', { get: () => 1, enumerable: true }),
    '.x',
    'is an accessor, which JSON turns into its value'
  ],
  [
    () => Object.defineProperty({}, 'x', { value: 1 }),
    '',
    'has the key x that is not enumerable, which JSON leaves out'
  ],
  [() => ({ deep: [{ at: new Date(0) }] }), '.deep[0].at', 'is a Date, which JSON turns into a string'],
  [() => ({ 'a b': NaN }), '["a b"]', 'is NaN, which JSON turns into null'],
  [cyclic, '.parts[0].whole', 'contains itself, which JSON cannot say'],
  [() => nested(1001), null, 'nests deeper than 1000 levels']
]

const wrong = { methods: { keep: x => ({ x }), add: which => ({ which }) } }

function withItems(state, action) {
  if (action === null) return { items: [] }
  if (action.which === undefined) return { items: [...state.items, action.x] }
  return { items: [...state.items, FAULTS[action.which][0]()] }
}

test('each is refused with its path, and the state stays', async t => {
  const node = openOne(t, { ...wrong, reduce: withItems })
  for (const x of ['x', 0, null]) await node.perform('keep', [x])
  const before = node.getState()
  for (const [which, [, where, why]] of FAULTS.entries()) {
    const error = await rejection(node.perform('add', [which]))
    assert.deepEqual([error.code, error.outcome], ['ERR_CONFLUX_REDUCER', 'refused'])
    if (where === null) assert.match(error.message, /`state\.items\[3\]\.a.*…` nests deeper/)
    else {
      assert.equal(error.path, `state.items[3]${where}`)
      assert.equal(
        error.message,
        `the reducer failed on the action of \`add\`: \`${error.path}\` ${why}; keep JSON values in the state, ` +
          'or use snapshot: { serialize, deserialize }'
      )
    }
    assert.equal(node.getState(), before)
    assert.equal(node.getProvisionalState(), before)
  }
  await node.perform('keep', ['on'])
  assert.deepEqual(node.getState().items, ['x', 0, null, 'on'])
})

test('also while there is no time for more than a quick check, where it is new', async t => {
  t.after(() => (budgets.calm.left = 250))
  const node = openOne(t, { ...wrong, reduce: withItems })
  await node.perform('keep', [1])
  for (const [which, [, where, why]] of FAULTS.entries()) {
    // What is more than values takes the time that is missing.
    if (/Symbol|accessor|enumerable|out of an array/.test(why) || where === null) continue
    budgets.calm.left = -1e9
    const { path } = await rejection(node.perform('add', [which]))
    assert.equal(path, `state.items[1]${where}`)
  }
})

test('a large state is looked at where the action changed it', async t => {
  t.after(() => (budgets.calm.left = 250))
  const entries = Array.from({ length: 100_000 }, (_, i) => [`k${i}`, { i }])
  const object = () => Object.fromEntries(entries)
  const array = () => entries.map(([, value]) => value)
  const cases = [
    [object, (s, { key }) => ({ ...s, [key]: new Date(0) }), 'state.k500'],
    [object, (s, { key }) => ({ ...s, [key]: { ...s[key], since: new Date(0) } }), 'state.k500.since'],
    [array, s => [...s, new Date(0)], 'state[100000]'],
    [array, s => [new Date(0), ...s], 'state[0]'],
    [array, (s, { at }) => s.map((x, i) => (i === at ? { ...x, n: NaN } : x)), 'state[500].n']
  ]
  for (const [make, change, where] of cases) {
    for (const left of [100, -1e9]) {
      const node = openOne(t, {
        methods: { change: () => ({ key: 'k500', at: 500 }) },
        reduce: (state, action) => (action === null ? make() : change(state, action))
      })
      budgets.calm.left = left
      assert.equal((await rejection(node.perform('change'))).path, where)
      await node.close()
    }
  }
})

test('a place that the action does not name is found in a large state, too', async t => {
  const node = openOne(t, {
    methods: { change: () => 'x' },
    reduce: (state, action) =>
      action === null
        ? Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`k${i}`, i]))
        : { ...state, k777: NaN }
  })
  assert.equal((await rejection(node.perform('change'))).path, 'state.k777')
})

test('what JSON changes by a shade is kept: -0, and a property that is undefined', async t => {
  const node = openOne(t, {
    methods: { set: x => x },
    reduce: (state, action) => (action === null ? {} : { zero: -0, gone: undefined, there: action })
  })
  await node.perform('set', [1])
  assert.deepEqual(node.getState(), { zero: -0, gone: undefined, there: 1 })
})

test('objects of another realm are plain as well', async t => {
  const node = openOne(t, {
    methods: { set: x => x },
    reduce: (state, action) => (action === null ? {} : vm.runInNewContext('({ list: [1, { a: 2 }] })'))
  })
  await node.perform('set', [1])
  assert.equal(JSON.stringify(node.getState()), '{"list":[1,{"a":2}]}')
  assert.throws(() => node.getState().list.push(1), { name: 'TypeError' })
})

test('an initial state that is not JSON is an error of conflux()', () => {
  const options = { id: 'a', clusterSize: 1, channel: { name: 'memory' }, methods: {} }
  for (const [make, where, why] of FAULTS) {
    assert.throws(
      () => conflux({ ...options, reduce: () => ({ first: make() }) }),
      error => {
        assert.equal(error.code, 'ERR_CONFLUX_REDUCER')
        assert.match(error.message, /^the reducer made an initial state that is not JSON: `state\.first/)
        assert.ok(error.message.includes(why), error.message)
        if (where !== null) assert.equal(error.path, `state.first${where}`)
        return true
      }
    )
  }
  assert.throws(() => conflux({ ...options, reduce: () => undefined }), { path: 'state' })
})

test('with own serialize the application decides', async t => {
  const node = openOne(t, {
    methods: { add: x => x },
    snapshot: {
      entries: 5,
      serialize: state => [...state].map(([key, at]) => [key, at.getTime()]),
      deserialize: entries => new Map(entries.map(([key, at]) => [key, new Date(at)]))
    },
    reduce: (state, action) => (action === null ? new Map() : new Map(state).set(action, new Date(action)))
  })
  for (let i = 0; i < 20; i++) await node.perform('add', [i])
  assert.equal(node.getState().get(19).getTime(), 19)
  await until('a snapshot', () => node.status().snapshotIndex > 0)
})

test('checkState: false accepts it, until a snapshot', async t => {
  const node = openOne(t, { ...wrong, reduce: withItems, checkState: false })
  await node.perform('add', [0])
  assert.ok(node.getState().items[0] instanceof Date)
})

test('a follower whose reducer makes it has diverged, with the path', async t => {
  const target = { id: null }
  const nodes = openCluster(t, 3, id => ({
    methods: { append: x => x },
    reduce: (state, action) => (action === null ? [] : [...state, id === target.id ? new Date(0) : action])
  }))
  const { leader, followers } = await elected(nodes)
  target.id = followers[0].status().id
  const diverged = new Promise(resolve => followers[0].on('diverged', resolve))
  await leader.perform('append', ['x'])
  const { message, cause } = await diverged
  assert.equal(cause.path, 'state[0]')
  assert.match(message, /`state\[0\]` is a Date/)
  assert.equal(followers[1].status().diverged, null)
})
