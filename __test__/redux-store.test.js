/**
 * Shows that `toStore(node)` behaves as a store of Redux does. Its tests follow Redux's own tests of its
 * store, `createStore.spec.ts`, one by one; a dispatch is awaited. Those that do not apply:
 *
 * - preserving the state when a reducer is replaced, and what a next reducer must be: all nodes must reduce alike, so
 *   that `replaceReducer` throws (tested below);
 * - enhancers as the second or third argument, and what is wrong with them: there are none, middleware is an option;
 * - no `getState()`, `subscribe()` or unsubscribing within a reducer: reducers are functions of the options, which are
 *   made before the store; a reducer that reads the state is not deterministic, and `compareStates` finds that;
 * - a falsy type that is no string: Redux 5 refuses it as well.
 */
'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')
const { combineReducers } = require('redux')

const conflux = require('..')
const { storeOptions, toStore } = require('../redux')
const { cluster } = require('../testing')
const { openOne, rejection, runScript } = require('./nodes')

function todos(state = [], action) {
  if (action.type !== 'ADD_ITEM') return state
  return [...state, { id: state.length + 1, text: action.text }]
}

const addTodo = text => ({ type: 'ADD_ITEM', text })
const unknownAction = () => ({ type: '@@UNKNOWN_ACTION' })
const hello = { id: 1, text: 'Hello' }
const world = { id: 2, text: 'World' }

const openNode = (t, ...args) => openOne(t, { initialState: undefined, ...storeOptions(...args) })
const openStore = (t, ...args) => toStore(openNode(t, ...args))

/** Counts its calls. */
function spy() {
  const listener = () => void listener.calls++
  listener.calls = 0
  return listener
}

test('exposes the public API, and nothing else that is enumerable', t => {
  const store = openStore(t, combineReducers({ todos }))
  assert.deepEqual(Object.keys(store).sort(), ['dispatch', 'getState', 'replaceReducer', 'subscribe'])
})

test('throws if the reducer is none', () => {
  for (const reducer of [undefined, null, 'test', {}, [], { todos: undefined }, { todos: 'x' }, [todos], 1]) {
    assert.throws(() => storeOptions(reducer), { name: 'TypeError', code: 'ERR_CONFLUX_INVALID_ARGUMENT' })
  }
  assert.throws(() => storeOptions(todos, { preloaded: [] }), /"preloaded" is unknown/)
})

test('passes the initial state', t => {
  const store = openStore(t, todos, { preloadedState: [hello] })
  assert.deepEqual(store.getState(), [hello])
})

test('applies the reducer to the previous state', async t => {
  const store = openStore(t, todos)
  assert.deepEqual(store.getState(), [])
  await store.dispatch(unknownAction())
  assert.deepEqual(store.getState(), [])
  await store.dispatch(addTodo('Hello'))
  assert.deepEqual(store.getState(), [hello])
  await store.dispatch(addTodo('World'))
  assert.deepEqual(store.getState(), [hello, world])
})

test('applies the reducer to the initial state', async t => {
  const store = openStore(t, todos, { preloadedState: [hello] })
  await store.dispatch(unknownAction())
  assert.deepEqual(store.getState(), [hello])
  await store.dispatch(addTodo('World'))
  assert.deepEqual(store.getState(), [hello, world])
})

test('dispatch resolves with the action, a copy of its own', async t => {
  const store = openStore(t, todos)
  const action = addTodo('Hello')
  const committed = await store.dispatch(action)
  assert.deepEqual(committed, action)
  assert.notEqual(committed, action)
})

test('a reducer is not to be replaced', t => {
  const store = openStore(t, todos)
  assert.throws(() => store.replaceReducer(() => []), {
    code: 'ERR_CONFLUX_INVALID_ARGUMENT',
    message: /`version`/
  })
})

test('supports multiple subscriptions', async t => {
  const store = openStore(t, todos)
  const [a, b] = [spy(), spy()]
  const dispatched = async expected => {
    await store.dispatch(unknownAction())
    assert.deepEqual([a.calls, b.calls], expected)
  }
  let unsubscribeA = store.subscribe(a)
  await dispatched([1, 0])
  await dispatched([2, 0])
  const unsubscribeB = store.subscribe(b)
  await dispatched([3, 1])
  unsubscribeA()
  await dispatched([3, 2])
  unsubscribeB()
  await dispatched([3, 2])
  unsubscribeA = store.subscribe(a)
  await dispatched([4, 2])
})

test('only removes a listener once when unsubscribe is called', async t => {
  const store = openStore(t, todos)
  const [a, b] = [spy(), spy()]
  const unsubscribeA = store.subscribe(a)
  store.subscribe(b)
  unsubscribeA()
  unsubscribeA()
  await store.dispatch(unknownAction())
  assert.deepEqual([a.calls, b.calls], [0, 1])
})

test('only removes the relevant listener when unsubscribe is called', async t => {
  const store = openStore(t, todos)
  const listener = spy()
  store.subscribe(listener)
  const unsubscribeSecond = store.subscribe(listener)
  unsubscribeSecond()
  unsubscribeSecond()
  await store.dispatch(unknownAction())
  assert.equal(listener.calls, 1)
})

test('supports removing a subscription within a subscription', async t => {
  const store = openStore(t, todos)
  const [a, b, c] = [spy(), spy(), spy()]
  store.subscribe(a)
  const unsubscribeB = store.subscribe(() => {
    b()
    unsubscribeB()
  })
  store.subscribe(c)
  await store.dispatch(unknownAction())
  await store.dispatch(unknownAction())
  assert.deepEqual([a.calls, b.calls, c.calls], [2, 1, 2])
})

test('notifies all subscribers of an action, also those that are unsubscribed meanwhile', async t => {
  const store = openStore(t, todos)
  const [one, two, three] = [spy(), spy(), spy()]
  const unsubscribes = [
    store.subscribe(one),
    store.subscribe(() => {
      two()
      unsubscribes.forEach(unsubscribe => unsubscribe())
    }),
    store.subscribe(three)
  ]
  await store.dispatch(unknownAction())
  assert.deepEqual([one.calls, two.calls, three.calls], [1, 1, 1])
  await store.dispatch(unknownAction())
  assert.deepEqual([one.calls, two.calls, three.calls], [1, 1, 1])
})

test('notifies only subscribers that were there when the action came', async t => {
  const store = openStore(t, todos)
  const [one, two, three] = [spy(), spy(), spy()]
  store.subscribe(one)
  store.subscribe(() => {
    two()
    if (two.calls === 1) store.subscribe(three)
  })
  await store.dispatch(unknownAction())
  assert.deepEqual([one.calls, two.calls, three.calls], [1, 1, 0])
  await store.dispatch(unknownAction())
  assert.deepEqual([one.calls, two.calls, three.calls], [2, 2, 1])
})

test('uses the last list of subscribers for a dispatch within a subscription', async t => {
  const store = openStore(t, todos)
  const [one, two, three, four] = [spy(), spy(), spy(), spy()]
  let nested
  const unsubscribeOne = store.subscribe(() => {
    one()
    unsubscribeOne()
    store.subscribe(four)
    nested = store.dispatch(unknownAction())
  })
  store.subscribe(two)
  store.subscribe(three)
  await store.dispatch(unknownAction())
  await nested
  assert.deepEqual([one.calls, two.calls, three.calls, four.calls], [1, 2, 2, 1])
})

test('provides the state of the action when a subscriber is notified', async t => {
  const store = openStore(t, todos)
  const seen = []
  store.subscribe(() => seen.push(store.getState()))
  await Promise.all([store.dispatch(addTodo('Hello')), store.dispatch(addTodo('World'))])
  assert.deepEqual(seen, [[hello], [hello, world]])
})

test('does not leak the list of listeners', async t => {
  const store = openStore(t, todos)
  let context = 'not called'
  store.subscribe(function () {
    context = this
  })
  await store.dispatch(unknownAction())
  assert.equal(context, undefined)
})

test('only accepts plain object actions', async t => {
  const store = openStore(t, todos)
  class AwesomeMap {}
  for (const action of [null, undefined, 42, 'hey', [], new AwesomeMap(), () => {}, Symbol('x')]) {
    const error = await rejection(store.dispatch(action))
    assert.match(error.message, /plain/)
    assert.deepEqual([error.code, error.outcome], ['ERR_CONFLUX_INVALID_ARGUMENT', 'not-applied'])
  }
  await store.dispatch(Object.assign(Object.create(null), unknownAction()))
  await store.dispatch(require('node:vm').runInNewContext('({ type: "x" })'))
})

test('handles nested dispatches', async t => {
  const foo = (state = 0, action) => (action.type === 'foo' ? 1 : state)
  const bar = (state = 0, action) => (action.type === 'bar' ? 2 : state)
  const store = openStore(t, combineReducers({ foo, bar }))
  let nested
  store.subscribe(() => {
    if (store.getState().bar === 0) nested = store.dispatch({ type: 'bar' })
  })
  await store.dispatch({ type: 'foo' })
  await nested
  assert.deepEqual(store.getState(), { foo: 1, bar: 2 })
})

test('does not allow dispatch from within a reducer', async t => {
  let store
  const reducer = (state = 0, action) => {
    if (action.type === 'dispatch') store.dispatch(unknownAction())
    return state
  }
  store = openStore(t, reducer)
  const error = await rejection(store.dispatch({ type: 'dispatch' }))
  assert.deepEqual([error.code, error.outcome], ['ERR_CONFLUX_REDUCER', 'refused'])
  assert.match(error.message, /inside a reducer/)
  await store.dispatch(unknownAction())
})

test('recovers from an error within a reducer', async t => {
  const store = openStore(t, (state = [], action) => {
    if (action.type === 'throw') throw new Error('no')
    return todos(state, action)
  })
  assert.equal((await rejection(store.dispatch({ type: 'throw' }))).code, 'ERR_CONFLUX_REDUCER')
  await store.dispatch(addTodo('Hello'))
  assert.deepEqual(store.getState(), [hello])
})

test('an action has a type, a string, also where it is performed past the store', async t => {
  const node = openNode(t, todos)
  const store = toStore(node)
  for (const action of [{}, { type: undefined }, { type: null }, { type: false }, { type: 0 }]) {
    const error = await rejection(store.dispatch(action))
    assert.match(error.message, /"type" of an action must be a string/)
    assert.equal(error.outcome, 'not-applied')
    const performed = await rejection(node.perform('dispatch', [action]))
    assert.match(performed.message, /"type" of an action must be a string/)
    assert.equal(performed.outcome, 'refused')
  }
  assert.match((await rejection(node.perform('dispatch', ['x']))).message, /plain object/)
  await store.dispatch({ type: '' })
})

test('throws if a listener is not a function', t => {
  const store = openStore(t, todos)
  for (const listener of [undefined, '', null, {}]) {
    assert.throws(() => store.subscribe(listener), {
      name: 'TypeError',
      code: 'ERR_CONFLUX_INVALID_ARGUMENT'
    })
  }
})

const KEYS = { 'the string': '@@observable', 'the symbol': Symbol.for('observable of a library') }

for (const [what, key] of Object.entries(KEYS)) {
  test(`observable, by ${what}`, async t => {
    if (typeof key === 'symbol') {
      Symbol.observable = key
      t.after(() => delete Symbol.observable)
    }
    const foo = (state = 0, action) => (action.type === 'foo' ? 1 : state)
    const bar = (state = 0, action) => (action.type === 'bar' ? 2 : state)
    const store = openStore(t, combineReducers({ foo, bar }))
    const observable = store[key]()
    assert.equal(observable[key](), observable)
    for (const observer of [undefined, null, () => {}]) {
      assert.throws(() => observable.subscribe(observer), { name: 'TypeError', message: /must be an object/ })
    }
    assert.equal(typeof observable.subscribe({}).unsubscribe, 'function')

    const results = []
    const subscription = observable.subscribe({ next: state => results.push(state) })
    await store.dispatch({ type: 'foo' })
    await store.dispatch({ type: 'bar' })
    subscription.unsubscribe()
    await store.dispatch(unknownAction())
    assert.deepEqual(results, [
      { foo: 0, bar: 0 },
      { foo: 1, bar: 0 },
      { foo: 1, bar: 2 }
    ])
  })
}

// What Redux has no need to test.

test('every node of a cluster has a store, and each sees what any dispatched', async t => {
  const c = await cluster(3, storeOptions({ todos }))
  t.after(() => c.close())
  const stores = c.nodes.map(toStoreOf)
  const seen = stores.map(store => {
    const texts = []
    store.subscribe(() => texts.push(store.getState().todos.at(-1).text))
    return texts
  })
  await Promise.all(stores.map((store, i) => store.dispatch(addTodo(`of ${i}`))))
  await c.settled()
  assert.equal(seen[0].length, 3)
  assert.deepEqual(seen, [seen[0], seen[0], seen[0]])
})

const toStoreOf = node => toStore(node)

test('all functions of a store stand for themselves', async t => {
  const { dispatch, getState, subscribe } = openStore(t, todos)
  const listener = spy()
  subscribe(listener)
  await dispatch(addTodo('Hello'))
  assert.deepEqual([getState(), listener.calls], [[hello], 1])
})

test('dispatch takes a timeout and a signal, and rejects as perform does', async t => {
  const lonely = toStore(openOne(t, { clusterSize: 2, ...storeOptions(todos) }))
  assert.equal(
    (await rejection(lonely.dispatch(unknownAction(), { timeout: 20 }))).code,
    'ERR_CONFLUX_TIMEOUT'
  )
  const signal = AbortSignal.abort('enough')
  assert.equal((await rejection(lonely.dispatch(unknownAction(), { signal }))).name, 'AbortError')
  assert.equal((await rejection(lonely.dispatch({ type: 'x', at: new Map() }))).code, 'ERR_CONFLUX_NOT_JSON')
})

test('a listener that throws keeps neither the others nor the node from going on', async () => {
  const { code, stdout } = await runScript(`
    const { storeOptions, toStore } = require(${JSON.stringify(require.resolve('../redux'))})
    const { reduce, methods, ...rest } = options
    const node = conflux({ ...rest, ...storeOptions((state = 0) => state + 1) })
    const store = toStore(node)
    let uncaught = 0
    process.on('uncaughtException', () => uncaught++)
    let calls = 0
    store.subscribe(() => { throw new Error('of a listener') })
    store.subscribe(() => calls++)
    store.dispatch({ type: 'x' }).then(() => setImmediate(() => {
      console.log(uncaught, calls)
      node.close()
    }))
  `)
  assert.deepEqual([code, stdout], [0, '1 1\n'])
})

test('a store of a node that has ended can be read, subscribed to, and left', async t => {
  const node = openNode(t, todos)
  const store = toStore(node)
  await store.dispatch(addTodo('Hello'))
  const unsubscribe = store.subscribe(() => {})
  await node.close()
  unsubscribe()
  store.subscribe(() => {})()
  assert.deepEqual(store.getState(), [hello])
  assert.equal((await rejection(store.dispatch(unknownAction()))).code, 'ERR_CONFLUX_CLOSED')
})

test('a store without listeners does not listen to its node', t => {
  const listeners = new Set()
  const node = openNode(t, todos)
  const counting = {
    ...node,
    subscribe(listener) {
      const unsubscribe = node.subscribe(listener)
      listeners.add(unsubscribe)
      return () => (listeners.delete(unsubscribe), unsubscribe())
    }
  }
  const store = toStore(counting)
  assert.equal(listeners.size, 0)
  const unsubscribes = [1, 2, 3].map(() => store.subscribe(() => {}))
  assert.equal(listeners.size, 1)
  unsubscribes.forEach(unsubscribe => unsubscribe())
  assert.equal(listeners.size, 0)
})

test('what is wrong with the options is said', t => {
  const node = openNode(t, todos)
  for (const options of [{ middlewares: [] }, { middleware: () => {} }, { middleware: [1] }]) {
    assert.throws(() => toStore(node, options), { name: 'TypeError', code: 'ERR_CONFLUX_INVALID_ARGUMENT' })
  }
  assert.equal(typeof conflux.isPerformError, 'function')
})
