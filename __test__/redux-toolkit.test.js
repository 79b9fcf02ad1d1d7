// Shows that slices, thunks, selectors and middleware of Redux Toolkit work on a store whose actions are
// agreed on first.

'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')
const {
  addListener,
  clearAllListeners,
  combineSlices,
  createAsyncThunk,
  createEntityAdapter,
  createListenerMiddleware,
  createSelector,
  createSlice,
  isAnyOf,
  Tuple
} = require('@reduxjs/toolkit')
const { combineReducers } = require('redux')
const { thunk, withExtraArgument } = require('redux-thunk')

const { storeOptions, toStore } = require('../redux')
const { cluster } = require('../testing')
const { list, openNode, openOne, rejection, until } = require('./nodes')

const todos = createSlice({
  name: 'todos',
  initialState: [],
  reducers: {
    added(state, { payload }) {
      state.push({ text: payload, isDone: false })
    },
    done(state, { payload }) {
      state.find(todo => todo.text === payload).isDone = true
    }
  }
})

/** It has an action of the same name. */
const users = createSlice({
  name: 'users',
  initialState: { names: [] },
  reducers: {
    added(state, { payload }) {
      state.names.push(payload)
    }
  }
})

const openStore = (t, source, options) => toStore(openOne(t, storeOptions(source)), options)

const SOURCES = {
  'an object of slices': { todos, users },
  'an object of reducers': { todos: todos.reducer, users: users.reducer },
  'an array of slices': [todos, users],
  combineReducers: combineReducers({ todos: todos.reducer, users: users.reducer }),
  combineSlices: combineSlices(todos, users)
}

for (const [what, source] of Object.entries(SOURCES)) {
  test(`two slices with an action of the same name keep apart: ${what}`, async t => {
    const store = openStore(t, source)
    assert.deepEqual(store.getState(), { todos: [], users: { names: [] } })
    await store.dispatch(todos.actions.added('milk'))
    const before = store.getState()
    await store.dispatch(users.actions.added('ann'))
    assert.deepEqual(store.getState(), {
      todos: [{ text: 'milk', isDone: false }],
      users: { names: ['ann'] }
    })
    // What an action does not change stays the same object: selectors rely on it.
    assert.equal(store.getState().todos, before.todos)
    await store.dispatch({ type: 'unknown' })
    await store.dispatch(todos.actions.done('milk'))
    assert.equal(store.getState().todos[0].isDone, true)
  })
}

test('an action that changes nothing leaves the same state', async t => {
  const store = openStore(t, { todos, users })
  await store.dispatch(todos.actions.added('milk'))
  const before = store.getState()
  await store.dispatch({ type: 'unknown' })
  assert.equal(store.getState(), before)
})

test('a single slice is the state', async t => {
  const store = openStore(t, todos)
  await store.dispatch(todos.actions.added('milk'))
  assert.deepEqual(store.getState(), [{ text: 'milk', isDone: false }])
})

test('two slices of one name in an array are a mistake, and are named', () => {
  const { reducer } = users
  assert.throws(() => storeOptions([todos, { name: 'todos', reducer }]), /two slices are called "todos"/)
  const other = createSlice({ name: 'todos', reducerPath: 'others', initialState: 0, reducers: {} })
  assert.deepEqual(storeOptions([todos, other]).initialState(), { todos: [], others: 0 })
})

test('a reducer that returns undefined is named, and its action refused', async t => {
  const store = openStore(t, { todos, odd: (state = 0, { type }) => (type === 'odd' ? undefined : state) })
  const error = await rejection(store.dispatch({ type: 'odd' }))
  assert.match(error.message, /the reducer of "odd" returned undefined for the action "odd"/)
  assert.equal(error.outcome, 'refused')
})

test('preloadedState: what it lacks comes from the reducers', t => {
  const options = storeOptions({ todos, users }, { preloadedState: { users: { names: ['ann'] } } })
  assert.deepEqual(toStore(openOne(t, options)).getState(), { todos: [], users: { names: ['ann'] } })
})

test('methods of one’s own decide on the leader, and are reduced by the slices', async t => {
  const options = storeOptions({ todos, users })
  const c = await cluster(3, {
    ...options,
    methods: {
      ...options.methods,
      addOnce(text) {
        const isThere = this.getProvisionalState().todos.some(todo => todo.text === text)
        return isThere ? new Error('it is there') : todos.actions.added(text)
      }
    }
  })
  t.after(() => c.close())
  const calls = c.nodes.map(node => node.perform('addOnce', ['milk']).catch(error => error.message))
  assert.equal((await Promise.all(calls)).filter(result => result === 'it is there').length, 2)
  await c.settled()
  for (const node of c.nodes) assert.equal(toStore(node).getState().todos.length, 1)
})

test('an entity adapter keeps its entities', async t => {
  const adapter = createEntityAdapter()
  const slice = createSlice({
    name: 'books',
    initialState: adapter.getInitialState(),
    reducers: { added: adapter.addOne, changed: adapter.updateOne, removed: adapter.removeOne }
  })
  const store = openStore(t, { books: slice })
  await store.dispatch(slice.actions.added({ id: 1, title: 'x' }))
  await store.dispatch(slice.actions.changed({ id: 1, changes: { title: 'y' } }))
  const { selectAll } = adapter.getSelectors(state => state.books)
  assert.deepEqual(selectAll(store.getState()), [{ id: 1, title: 'y' }])
})

test('reselect computes again only what an action has changed', async t => {
  const store = openStore(t, { todos, users })
  let runs = 0
  const selectOpen = createSelector(
    [state => state.todos],
    all => (runs++, all.filter(({ isDone }) => !isDone))
  )
  selectOpen(store.getState())
  await store.dispatch(users.actions.added('ann'))
  const open = selectOpen(store.getState())
  assert.deepEqual([open, runs], [[], 1])
  await store.dispatch(todos.actions.added('milk'))
  assert.equal(selectOpen(store.getState()).length, 1)
  assert.equal(runs, 2)
  assert.equal(selectOpen(store.getState()), selectOpen(store.getState()))
})

test('a thunk runs at once, awaits what it dispatches, and reads the state with it', async t => {
  const store = openStore(t, { todos, users }, { middleware: [withExtraArgument('extra')] })
  const result = store.dispatch(async (dispatch, getState, extra) => {
    const { payload } = await dispatch(todos.actions.added('milk'))
    return [payload, getState().todos.length, extra]
  })
  assert.deepEqual(await result, ['milk', 1, 'extra'])
  assert.equal(
    store.dispatch((_, getState) => getState().todos.length),
    1
  )
})

test('without its middleware, a thunk is refused, and the error says what is missing', async t => {
  const store = openStore(t, { todos, users })
  const error = await rejection(store.dispatch(() => {}))
  assert.match(error.message, /a middleware, such as that of redux-thunk/)
})

test('createAsyncThunk: pending, then fulfilled or rejected, on every node', async t => {
  const load = createAsyncThunk('load', async id => {
    if (id < 0) throw new Error('no such id')
    return [`todo ${id}`]
  })
  const loads = createSlice({
    name: 'loads',
    initialState: { phases: [], result: null },
    reducers: {},
    extraReducers: builder =>
      builder
        .addCase(load.pending, state => void state.phases.push('pending'))
        .addCase(load.rejected, (state, { error }) => void state.phases.push(error.message))
        .addCase(load.fulfilled, (state, { payload }) => {
          state.phases.push('fulfilled')
          state.result = payload
        })
  })
  const c = await cluster(3, storeOptions({ loads }))
  t.after(() => c.close())
  const store = toStore(c.nodes[2], { middleware: [thunk] })
  const { payload } = await store.dispatch(load(1)).then(async action => (await c.settled(), action))
  assert.deepEqual(payload, ['todo 1'])
  await assert.rejects(store.dispatch(load(-1)).unwrap(), { message: 'no such id' })
  await c.settled()
  for (const node of c.nodes) {
    assert.deepEqual(node.getState().loads, {
      phases: ['pending', 'fulfilled', 'pending', 'no such id'],
      result: ['todo 1']
    })
  }
})

test('middleware sees the state without the action before `next`, and with it after', async t => {
  const log = []
  const logger = api => next => action => {
    const before = api.getState().todos.length
    const result = next(action)
    log.push([action.payload, before, api.getState().todos.length, result === action])
    return result
  }
  const store = openStore(t, { todos, users }, { middleware: [thunk, logger] })
  const { payload } = await store.dispatch(todos.actions.added('a'))
  assert.equal(payload, 'a')
  await store.dispatch(todos.actions.added('b'))
  assert.deepEqual(log, [
    ['a', 0, 1, true],
    ['b', 1, 2, true]
  ])
})

test('middleware misses no change: each lies between a before and an after', async t => {
  const states = []
  const recorder = api => next => action => {
    states.push(api.getState())
    const result = next(action)
    states.push(api.getState())
    return result
  }
  const store = openStore(t, { todos, users }, { middleware: [recorder] })
  const first = store.getState()
  await Promise.all(Array.from({ length: 50 }, (_, i) => store.dispatch(todos.actions.added(`${i}`))))
  assert.equal(states.length, 100)
  assert.equal(states[0], first)
  for (let i = 1; i < 99; i += 2) assert.equal(states[i], states[i + 1])
  assert.equal(states.at(-1).todos.length, 50)
})

test('an action that is refused passes no middleware, and one is committed once, however it is passed on', async t => {
  const passed = []
  const copying = () => next => action => {
    passed.push(action.type)
    return next({ ...action })
  }
  const later = () => next => async action => {
    await null
    return next(action)
  }
  const store = openStore(t, { todos, users }, { middleware: [copying, later] })
  assert.equal((await rejection(store.dispatch({ type: 'bad', at: new Map() }))).code, 'ERR_CONFLUX_NOT_JSON')
  await store.dispatch(todos.actions.added('once'))
  assert.equal(store.getState().todos.length, 1)
  await rejection(store.dispatch(todos.actions.done('unknown')))
  assert.deepEqual(passed.slice(1), ['todos/added'])
})

test('a middleware that makes an action of a promise has it committed', async t => {
  const promises = api => next => action =>
    typeof action?.then === 'function' ? action.then(value => next(value)) : next(action)
  const store = openStore(t, { todos, users }, { middleware: [promises] })
  await store.dispatch(Promise.resolve(todos.actions.added('later')))
  assert.equal(store.getState().todos[0].text, 'later')
})

test('listener middleware: effects see the state with the action, and the one before it', async t => {
  const listener = createListenerMiddleware()
  const seen = []
  listener.startListening({
    actionCreator: todos.actions.added,
    effect: ({ payload }, api) => {
      seen.push([payload, api.getOriginalState().todos.length, api.getState().todos.length])
    }
  })
  const changes = []
  listener.startListening({
    predicate: (_, now, before) => now.users !== before.users,
    effect: ({ type }) => void changes.push(type)
  })
  const store = openStore(t, { todos, users }, { middleware: [listener.middleware] })
  await store.dispatch(todos.actions.added('milk'))
  await store.dispatch(users.actions.added('ann'))
  assert.deepEqual(seen, [['milk', 0, 1]])
  assert.deepEqual(changes, ['users/added'])
})

test('listener middleware: take, condition, fork, and dispatch inside of an effect', async t => {
  const listener = createListenerMiddleware()
  const log = []
  listener.startListening({
    matcher: isAnyOf(todos.actions.added),
    effect: async ({ payload }, api) => {
      api.unsubscribe()
      log.push(`added ${payload}`)
      const [action] = await api.take(users.actions.added.match)
      log.push(`took ${action.payload}`)
      const committed = await api.dispatch(todos.actions.added('of the effect'))
      log.push(`dispatched ${committed.payload}`)
      await api.condition((_, state) => state.users.names.length === 2)
      log.push('two users')
      const { value } = await api.fork(async () => 'forked').result
      log.push(value)
    }
  })
  const store = openStore(t, { todos, users }, { middleware: [listener.middleware] })
  await store.dispatch(todos.actions.added('milk'))
  await store.dispatch(users.actions.added('ann'))
  await until('the effect to go on', () => log.includes('dispatched of the effect'))
  await store.dispatch(users.actions.added('bob'))
  await until('the effect to end', () => log.includes('forked'))
  assert.deepEqual(log, ['added milk', 'took ann', 'dispatched of the effect', 'two users', 'forked'])
})

test('listeners are added and removed by actions, which are not committed', async t => {
  const listener = createListenerMiddleware()
  const node = openOne(t, storeOptions({ todos, users }))
  const store = toStore(node, { middleware: [listener.middleware] })
  const seen = []
  await node.sync()
  const { lastIndex } = node.status()
  const unsubscribe = store.dispatch(
    addListener({ actionCreator: todos.actions.added, effect: ({ payload }) => void seen.push(payload) })
  )
  assert.equal(typeof unsubscribe, 'function')
  assert.equal(node.status().lastIndex, lastIndex)
  await store.dispatch(todos.actions.added('heard'))
  unsubscribe()
  await store.dispatch(todos.actions.added('not heard'))
  assert.deepEqual(seen, ['heard'])
  await store.dispatch(clearAllListeners())
})

test('effects run on the node that dispatched, and on no other', async t => {
  const c = await cluster(3, storeOptions({ todos, users }))
  t.after(() => c.close())
  const heard = []
  const stores = c.nodes.map((node, i) => {
    const listener = createListenerMiddleware()
    listener.startListening({ actionCreator: todos.actions.added, effect: () => void heard.push(i) })
    return toStore(node, { middleware: [listener.middleware] })
  })
  for (const i of [2, 0, 2]) await stores[i].dispatch(todos.actions.added('x'))
  await c.settled()
  assert.deepEqual(heard, [2, 0, 2])
})

test('a tuple of Redux Toolkit is an array of middleware', async t => {
  const store = openStore(t, { todos, users }, { middleware: new Tuple(thunk) })
  assert.equal(
    store.dispatch(() => 'thunk'),
    'thunk'
  )
})

test('options of conflux without `dispatch` make no store by themselves: the call is refused', async t => {
  const store = toStore(
    openNode(t, { id: 'a', clusterSize: 1, channel: { name: 'memory', channelName: 'no' }, ...list })
  )
  assert.equal((await rejection(store.dispatch({ type: 'x' }))).code, 'ERR_CONFLUX_UNKNOWN_METHOD')
})
