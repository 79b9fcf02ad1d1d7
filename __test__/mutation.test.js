/**
 * Shows that code that changes a state in place gets an error at once, with the path, and that nothing of it is kept.
 *
 * CONFLUX_MUTATIONS sets how many actions change the state in place in a cluster of three (default 200).
 */
'use strict'

const assert = require('node:assert/strict')
const { randomUUID } = require('node:crypto')
const path = require('node:path')
const test = require('node:test')
const { isProxy } = require('node:util').types

const toolkit = require('@reduxjs/toolkit')
const { Immer } = require('immer')

const { budgets } = require('../lib/budget')
const { elected, makeFolder, openCluster, openNode, openOne, rejection, until } = require('./nodes')

const MUTATIONS = Number(process.env.CONFLUX_MUTATIONS ?? 200)

const INITIAL = () => ({
  n: 0,
  items: [1, 2, 3],
  users: { a: { name: 'A' }, b: { name: 'B' } },
  list: [{ done: false }]
})

/**
 * Ways to change a state `s` in place, and where each is noticed. `return` says what such a reducer returns: often the
 * same object, often a copy of the outermost level.
 */
const WAYS = [
  ['s.n = x', 'state.n'],
  ['s.n++', 'state.n'],
  ['s.added = x', 'state.added'],
  ['delete s.n', 'state.n'],
  ['s.items.push(x)', 'state.items[3]'],
  ['s.items.pop()', 'state.items[2]'],
  ['s.items.unshift(x)', 'state.items[3]'],
  ['s.items.sort((a, b) => b - a)', 'state.items[0]'],
  ['s.items.reverse()', 'state.items[0]'],
  ['s.items.splice(1, 1)', 'state.items[1]'],
  ['s.items[1] = x', 'state.items[1]'],
  ['s.items.length = 0', 'state.items.length'],
  ['s.users.c = { name: x }', 'state.users.c'],
  ['s.users.a.name = x', 'state.users.a.name'],
  ['delete s.users.a', 'state.users.a'],
  ['s.users["a b"] = x', 'state.users["a b"]'],
  ['Object.assign(s.users.b, { name: x })', 'state.users.b.name'],
  ['Object.defineProperty(s, "n", { value: x })', 'state.n'],
  ['s.list[0].done = true', 'state.list[0].done'],
  ['for (const each of s.list) each.done = true', 'state.list[0].done'],
  ['const copy = { ...s }; copy.users.a.name = x', 'state.users.a.name'],
  ['const list = [...s.list]; list[0].done = true', 'state.list[0].done'],
  ['try { s.items.push(x) } catch {}', 'state.items[3]'],
  ['try { s.n = x } catch {}', 'state.n']
]
const RETURNS = ['s', '{ ...s }', '{ ...s, last: x }']
const MODES = { strict: "'use strict'; ", sloppy: '' }

/** All ways, all modes, all things to return. */
const WRONG = Object.entries(MODES).flatMap(([mode, head]) =>
  WAYS.flatMap(([code, where]) =>
    RETURNS.map(returned => ({
      name: `${mode}: ${code}; return ${returned}`,
      reduce: new Function('s', 'x', `${head}${code}; return ${returned}`),
      where
    }))
  )
)

const methods = { good: x => ({ x }), wrong: (way, x) => ({ way, x }) }

function reduce(state, action) {
  if (action === null) return INITIAL()
  if (action.way !== undefined) return WRONG[action.way].reduce(state, action.x)
  return { ...state, n: state.n + 1, items: [...state.items, action.x] }
}

function assertRefused(error, { name, where }) {
  assert.deepEqual([error.code, error.outcome, error.path], ['ERR_CONFLUX_REDUCER', 'refused', where], name)
  assert.ok(error.message.includes(`\`${where}\``), error.message)
  assert.match(error.message, /return a new state instead, with `(\[\.\.\.|\{ \.\.\.)state/)
}

test('the error names the path, and what to write instead', async t => {
  const node = openOne(t, {
    methods: { append: x => x },
    reduce(state, x) {
      if (x === null) return { items: [] }
      state.items.push(x)
      return state
    }
  })
  const error = await rejection(node.perform('append', ['x']))
  assert.equal(
    error.message,
    'the reducer failed on the action of `append`: it changed the state in place (`state.items[0]` was assigned); ' +
      'return a new state instead, with `[...state.items, x]` where it differs'
  )
  assert.deepEqual([error.code, error.outcome], ['ERR_CONFLUX_REDUCER', 'refused'])
})

test('every way to change the state in place is refused on its path, in strict and sloppy mode', async t => {
  const node = openOne(t, { methods, reduce })
  await node.perform('good', [0])
  const before = node.getState()
  const text = JSON.stringify(before)
  for (const [way, wrong] of WRONG.entries()) {
    // With the items that one good action added, some are one further on.
    const where = wrong.where.replace('items[3]', 'items[4]').replace(/items\[2\]/, 'items[3]')
    assertRefused(await rejection(node.perform('wrong', [way, 9])), { ...wrong, where })
    assert.equal(node.getState(), before)
    assert.equal(JSON.stringify(before), text, wrong.name)
    assert.equal(node.getProvisionalState(), before)
  }
})

test('a single action of thousands is found', async t => {
  for (const head of Object.values(MODES)) {
    const rare = new Function(
      's',
      'x',
      `${head} if (x === 5000) s.users.a.name = 'changed'; return { ...s, n: s.n + 1, last: x }`
    )
    const node = openOne(t, {
      methods,
      reduce: (state, action) => (action === null ? INITIAL() : rare(state, action.x))
    })
    const outcomes = []
    for (let x = 1; x <= 5100; x += 50) {
      outcomes.push(
        ...(await Promise.allSettled(Array.from({ length: 50 }, (_, i) => node.perform('good', [x + i]))))
      )
    }
    const rejected = outcomes.flatMap(({ status, reason }, i) =>
      status === 'rejected' ? [[i + 1, reason.path]] : []
    )
    assert.deepEqual(rejected, [[5000, 'state.users.a.name']])
    assert.equal(node.getState().n, outcomes.length - 1)
    assert.equal(node.getState().users.a.name, 'A')
  }
})

test('nothing of an action that is refused half way is kept', async t => {
  const node = openOne(t, {
    methods: { withdraw: n => ({ n }) },
    reduce(state, action) {
      if (action === null) return { balance: 100, log: [] }
      state.balance -= action.n
      if (state.balance < 0) throw new Error('overdrawn')
      return { ...state, log: [...state.log, action.n] }
    }
  })
  const { code, outcome } = await rejection(node.perform('withdraw', [150]))
  assert.deepEqual([code, outcome], ['ERR_CONFLUX_REDUCER', 'refused'])
  assert.deepEqual(node.getState(), { balance: 100, log: [] })
})

test('a method that changes the state in place is refused on its path', async t => {
  const body = code => ({
    strict: new Function(
      `'use strict'; const x = 9; const s = this.getProvisionalState(); ${code}; return 1`
    ),
    sloppy: new Function(`const x = 9; const s = this.getProvisionalState(); ${code}; return 1`),
    committed: new Function(`const x = 9; const s = this.getState(); ${code}; return 1`)
  })
  for (const [code, where] of WAYS) {
    const node = openOne(t, {
      methods: body(code),
      reduce: (state, action) => (action === null ? INITIAL() : state)
    })
    const before = JSON.stringify(node.getState())
    for (const name of ['strict', 'sloppy', 'committed']) {
      const error = await rejection(node.perform(name, []))
      assert.deepEqual(
        [error.code, error.outcome, error.path],
        ['ERR_CONFLUX_REDUCER', 'refused', where],
        `${name}: ${code}`
      )
      assert.match(error.message, new RegExp(`^the method \`${name}\` failed: it changed the state in place`))
      assert.equal(JSON.stringify(node.getState()), before)
    }
    await node.close()
  }
})

test('a caller or a subscriber that changes the state gets a TypeError, and changes nothing', async t => {
  const node = openOne(t, { methods, reduce })
  await node.perform('good', [{ nested: [1] }])
  const text = JSON.stringify(node.getState())
  for (const read of ['getState', 'getProvisionalState']) {
    const state = node[read]()
    assert.throws(() => state.items.push(1), TypeError)
    assert.throws(() => (state.n = 1), TypeError)
    assert.throws(() => delete state.users.a, TypeError)
    assert.throws(() => state.items[3].nested.pop(), TypeError)
    // Sloppy mode ignores the write: there is nothing else to notice.
    new Function('s', 's.n = 99; s.users.a.name = 99; delete s.list')(state)
    assert.equal(JSON.stringify(state), text)
  }
  let caught
  node.subscribe(() => {
    try {
      node.getState().n = 5
    } catch (error) {
      caught = error
    }
  })
  await node.perform('good', [2])
  assert.equal(caught.name, 'TypeError')
  assert.equal(node.getState().n, 2)
})

test('what a call resolves with is not part of the state', async t => {
  const nodes = openCluster(t, 3, { methods, reduce })
  await elected(nodes)
  for (const node of nodes) {
    const action = await node.perform('good', [{ deep: [1] }])
    action.x.deep.push(2)
    assert.deepEqual(node.getState().items.at(-1), { deep: [1] })
  }
})

test('acknowledged actions are there once after a restart from disk', async t => {
  const directory = makeFolder(t)
  const options = {
    id: 'a',
    clusterSize: 1,
    channel: { name: 'memory', channelName: randomUUID() },
    storage: { path: directory },
    snapshot: { entries: 20 },
    methods,
    reduce
  }
  const first = openNode(t, options)
  await first.ready()
  for (let i = 0; i < 100; i++) {
    await Promise.all([
      first.perform('good', [i]),
      rejection(first.perform('wrong', [i % WRONG.length, i])),
      rejection(first.perform('wrong', [(i * 7) % WRONG.length, i]))
    ])
  }
  const before = first.getState()
  assert.deepEqual(before.items, [1, 2, 3, ...Array(100).keys()])
  await first.close()
  const second = openNode(t, options)
  await second.ready()
  assert.deepEqual(second.getState(), before)
})

test('what a reducer logged that changed the state in place, unchecked, is not replayed in silence', async t => {
  for (const head of Object.values(MODES)) {
    const directory = makeFolder(t)
    const change = new Function('s', 'x', `${head} s.users.a.name = x; return s`)
    const options = {
      id: 'a',
      clusterSize: 1,
      channel: { name: 'memory', channelName: randomUUID() },
      storage: { path: directory },
      methods,
      reduce: (state, action) => (action === null ? INITIAL() : change(state, action.x))
    }
    const unchecked = openNode(t, { ...options, checkState: false })
    await unchecked.ready()
    await unchecked.perform('good', ['x'])
    await unchecked.close()
    const checked = openNode(t, options)
    const { cause } = await new Promise(resolve => checked.on('diverged', resolve))
    assert.equal(cause.path, 'state.users.a.name')
    await checked.close()
  }
})

test('a follower whose reducer changes the state in place has diverged, with the path; the others go on', async t => {
  const target = { id: null }
  const nodes = openCluster(t, 3, id => ({
    methods,
    reduce(state, action) {
      if (action?.x === 'odd' && id === target.id) state.users.a.name = 'changed'
      return reduce(state, action)
    }
  }))
  const { leader, followers } = await elected(nodes)
  target.id = followers[0].status().id
  const diverged = new Promise(resolve => followers[0].on('diverged', resolve))
  await leader.perform('good', ['odd'])
  const { message, cause } = await diverged
  assert.equal(cause.path, 'state.users.a.name')
  assert.match(message, /it changed the state in place \(`state\.users\.a\.name` was assigned\)/)
  target.id = null
  await until('it to be restored', () => followers[0].status().diverged === null)
  await followers[0].sync()
  for (const node of nodes) assert.equal(node.getState().users.a.name, 'A')
  assert.throws(() => (followers[0].getState().users.a.name = 'X'), TypeError)
})

test(`${MUTATIONS} actions that change the state in place, among good ones, in a cluster of three`, async t => {
  const nodes = openCluster(t, 3, { methods, reduce })
  await elected(nodes)
  const accused = []
  for (const node of nodes) {
    node.on('diverged', error => accused.push(error))
    node.on('warning', warning => accused.push(warning))
  }
  const acknowledged = []
  for (let i = 0; i < MUTATIONS; i++) {
    const way = i % WRONG.length
    const [, error] = await Promise.all([
      nodes[i % 3].perform('good', [`g${i}`]).then(({ x }) => acknowledged.push(x)),
      rejection(nodes[(i + 1) % 3].perform('wrong', [way, -1 - i]))
    ])
    assert.deepEqual([error.code, error.outcome], ['ERR_CONFLUX_REDUCER', 'refused'], WRONG[way].name)
    assert.equal(
      error.path.replace(/\[\d+\]/, '[]'),
      WRONG[way].where.replace(/\[\d+\]/, '[]'),
      WRONG[way].name
    )
  }
  await Promise.all(nodes.map(node => node.sync()))
  for (const node of nodes) {
    const { items, ...rest } = node.getState()
    assert.deepEqual(items.slice(3).toSorted(), acknowledged.toSorted())
    assert.deepEqual(
      rest,
      { ...INITIAL(), n: MUTATIONS, items: undefined }.items ?? {
        n: MUTATIONS,
        users: INITIAL().users,
        list: INITIAL().list
      }
    )
  }
  assert.deepEqual(accused, [])
  t.diagnostic(`${MUTATIONS} refused with their path; 0 doubled, 0 half kept, 0 nodes accused`)
})

test('Immer and Redux Toolkit work as ever, and leave no draft in the state', async t => {
  const slice = toolkit.createSlice({
    name: 'todos',
    initialState: { todos: [{ text: 'first', tags: ['a'] }], count: 0 },
    reducers: {
      added(state, { payload }) {
        state.todos.push({ text: payload, tags: [] })
        state.count++
      },
      tagged(state, { payload }) {
        for (const todo of state.todos) todo.tags.push(payload)
      },
      nothing() {},
      dated(state) {
        state.since = new Date(0)
      }
    }
  })
  const recipe = (draft, { type, payload }) =>
    slice.caseReducers[type.slice('todos/'.length)]?.(draft, { payload })
  const make = () => ({ todos: [{ text: 'first', tags: ['a'] }], count: 0 })
  const freezing = new Immer({ autoFreeze: true })
  const loose = new Immer({ autoFreeze: false })
  const reducers = {
    toolkit: (state, action) => slice.reducer(state, action ?? { type: '@@init' }),
    immer: (state = make(), action) =>
      action === null ? state : freezing.produce(state, draft => void recipe(draft, action)),
    'immer without autoFreeze': (state = make(), action) =>
      action === null ? state : loose.produce(state, draft => void recipe(draft, action))
  }
  for (const [name, reducer] of Object.entries(reducers)) {
    const node = openOne(t, {
      methods: { dispatch: (type, payload) => ({ type: `todos/${type}`, payload }) },
      reduce: reducer
    })
    for (let i = 0; i < 20; i++) {
      await node.perform('dispatch', ['added', `t${i}`])
      await node.perform('dispatch', ['tagged', i])
      const before = node.getState()
      await node.perform('dispatch', ['nothing'])
      assert.equal(node.getState(), before, name)
    }
    assert.equal(node.getState().count, 20)
    assert.deepEqual(node.getState().todos[20], { text: 't19', tags: [19] })
    assertWithoutProxies(node.getState())
    const error = await rejection(node.perform('dispatch', ['dated']))
    assert.deepEqual([error.code, error.path], ['ERR_CONFLUX_REDUCER', 'state.since'], name)
  }
})

test('an initial state may be shared by several nodes and its module', async t => {
  const shared = INITIAL()
  const nodes = ['a', 'b'].map(() =>
    openOne(t, {
      methods,
      reduce: (state = shared, action) => (action === null ? state : reduce(state, action))
    })
  )
  await nodes[0].perform('good', ['x'])
  await nodes[1].perform('good', ['y'])
  assert.deepEqual(nodes.map(node => node.getState().items.at(-1)), ['x', 'y']) // prettier-ignore
  assert.deepEqual(shared, INITIAL())
})

test('a state of 100,000 entries is protected as well', async t => {
  const large = () => Object.fromEntries(Array.from({ length: 100_000 }, (_, i) => [`k${i}`, { i }]))
  for (const [make, code, where] of [
    [large, 's.k77.i = x; return s', 'state.k77.i'],
    [large, 's.new = x; return s', 'state.new'],
    [() => Object.values(large()), 's[77].i = x; return s', 'state[77].i'],
    [() => Object.values(large()), 's.push(x); return s', 'state[100000]']
  ]) {
    for (const head of Object.values(MODES)) {
      const change = new Function('s', 'x', head + code)
      const node = openOne(t, {
        methods,
        reduce: (state, action) => (action === null ? make() : change(state, action.x))
      })
      const before = node.getState()
      assert.equal((await rejection(node.perform('good', [1]))).path, where)
      assert.equal(node.getState(), before)
      await node.close()
    }
  }
})

test('without time for thorough checks, strict mode is still refused every time, and nothing changes', async t => {
  const { calm, probes } = budgets
  t.after(() => (calm.left = probes.left = 250))
  const node = openOne(t, { methods, reduce })
  const before = JSON.stringify(node.getState())
  for (const [way, wrong] of WRONG.entries()) {
    if (!wrong.name.startsWith('strict') || wrong.name.includes('try')) continue
    calm.left = probes.left = -1e9
    assertRefused(await rejection(node.perform('wrong', [way, 9])), wrong)
    assert.equal(JSON.stringify(node.getState()), before)
  }
})

test('without time for thorough checks, a sloppy action that seems to do nothing is looked at', async t => {
  const { calm, probes } = budgets
  t.after(() => (calm.left = 250))
  const node = openOne(t, { methods, reduce })
  for (const [way, wrong] of WRONG.entries()) {
    if (!wrong.name.startsWith('sloppy') || wrong.name.includes('last')) continue
    calm.left = -1e9
    probes.left = 50
    assertRefused(await rejection(node.perform('wrong', [way, 9])), wrong)
  }
})

test('what a quick check left open in a large container is frozen after the turn', async t => {
  const { calm } = budgets
  t.after(() => (calm.left = 250))
  const make = () => Array.from({ length: 1000 }, (_, i) => ({ id: `x${i}`, done: false }))
  for (const [initial, change] of [
    [make, (s, id) => s.map(each => (each.id === id ? { ...each, deep: { done: true } } : each))],
    [
      () => Object.fromEntries(make().map(each => [each.id.slice(1), each])),
      (s, id) => ({ ...s, [id.slice(1)]: { ...s[id.slice(1)], deep: { done: true } } })
    ]
  ]) {
    const node = openOne(t, {
      methods,
      reduce: (state, action) => (action === null ? initial() : change(state, action.x))
    })
    for (let i = 300; i < 310; i++) {
      calm.left = -1e9
      await node.perform('good', [`x${i}`])
      const changed = Object.values(node.getState())[i]
      assert.equal(changed.deep.done, true)
      await until('it to be frozen', () => Object.isFrozen(changed) && Object.isFrozen(changed.deep))
    }
    await node.close()
  }
})

test('checkState: false leaves the state alone', async t => {
  const node = openOne(t, {
    methods,
    reduce: (state, action) => (action === null ? INITIAL() : WRONG[0].reduce(state, action.x)),
    checkState: false
  })
  await node.perform('good', [7])
  assert.equal(node.getState().n, 7)
  node.getState().n = 8
  assert.equal(node.getState().n, 8)
})

test('a reducer that cannot work on proxies works all the same', async t => {
  const node = openOne(t, {
    methods,
    reduce(state, action) {
      if (action === null) return INITIAL()
      const copy = structuredClone(state)
      copy.items.push(action.x)
      return Object.freeze(copy)
    }
  })
  for (let i = 0; i < 10; i++) await node.perform('good', [i])
  assert.deepEqual(node.getState(), { ...INITIAL(), items: [1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9] })
  assertWithoutProxies(node.getState())
})

test('with own serialize, what is plain is protected, and the rest is the application’s', async t => {
  const node = openOne(t, {
    methods,
    snapshot: {
      serialize: ({ map, ...rest }) => ({ ...rest, map: [...map] }),
      deserialize: s => ({ ...s, map: new Map(s.map) })
    },
    reduce(state, action) {
      if (action === null) return { map: new Map([['a', { n: 1 }]]), plain: { list: [1] }, at: new Date(0) }
      if (action.x === 'plain') state.plain.list.push(1)
      return { ...state, map: new Map(state.map).set(action.x, { n: 2 }) }
    }
  })
  await node.perform('good', ['b'])
  assert.equal(node.getState().map.size, 2)
  assert.equal((await rejection(node.perform('good', ['plain']))).path, 'state.plain.list[1]')
  assert.throws(() => node.getState().plain.list.push(1), TypeError)
  assert.equal(node.getState().map.size, 2)
})

function assertWithoutProxies(value) {
  assert.ok(!isProxy(value))
  if (typeof value === 'object' && value !== null) Object.values(value).forEach(assertWithoutProxies)
}
