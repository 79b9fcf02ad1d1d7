// Compiled, never run: `conflux/redux` gives a store of Redux, whose state and actions are those of the reducer.
import conflux = require('..')
import {
  combineSlices,
  createAsyncThunk,
  createListenerMiddleware,
  createSlice,
  type PayloadAction
} from '@reduxjs/toolkit'
import { combineReducers, type Action, type Store, type UnknownAction } from 'redux'
import { thunk } from 'redux-thunk'
import { storeOptions, toStore } from '../redux'
import { cluster } from '../testing'

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
declare function expect<Expected>(): {
  toBe<Actual>(actual: Actual, ...proof: Equal<Actual, Expected> extends true ? [] : [never]): void
}

const base = { id: 'a', clusterSize: 1, channel: { name: 'memory' } } as const

const todos = createSlice({
  name: 'todos',
  initialState: [] as string[],
  reducers: {
    added(state, action: PayloadAction<string>) {
      state.push(action.payload)
    }
  }
})
const users = createSlice({
  name: 'users',
  initialState: { names: [] as string[] },
  reducers: {
    added(state, action: PayloadAction<string>) {
      state.names.push(action.payload)
    }
  }
})
interface State {
  todos: string[]
  users: { names: string[] }
}

async function main() {
  // One slice: its state is the node's.
  const one = conflux({ ...base, ...storeOptions(todos) })
  expect<string[]>().toBe(one.getState())
  await one.perform('dispatch', [todos.actions.added('milk')])
  expect<string[]>().toBe(toStore(one).getState())

  // Several, by key, as an array, combined by Redux or by Redux Toolkit.
  const byKey = toStore(conflux({ ...base, ...storeOptions({ todos, users: users.reducer }) }))
  expect<State>().toBe(byKey.getState())
  const asArray = toStore(conflux({ ...base, ...storeOptions([todos, users]) }))
  expect<State>().toBe(asArray.getState())
  const combined = toStore(
    conflux({ ...base, ...storeOptions(combineReducers({ todos: todos.reducer, users: users.reducer })) })
  )
  expect<State>().toBe(combined.getState())
  const slices = toStore(conflux({ ...base, ...storeOptions(combineSlices(todos, users)) }))
  expect<string[]>().toBe(slices.getState().todos)

  // `dispatch` gives a promise of the very action.
  const added = await byKey.dispatch(todos.actions.added('milk'))
  expect<string>().toBe(added.payload)
  const action: { type: 'x' } = { type: 'x' }
  expect<Promise<{ type: 'x' }>>().toBe(byKey.dispatch(action, { timeout: 1000 }))
  // @ts-expect-error an action has a type
  byKey.dispatch({})
  // @ts-expect-error there is no such option
  toStore(one, { middlewares: [] })

  // It stands where Redux takes a store, as `<Provider store>` does.
  const store: Store<State, UnknownAction> = byKey
  const any: Store = byKey
  const observable = byKey[Symbol.observable]()
  observable.subscribe({ next: state => expect<State>().toBe(state) })

  // Middleware adds to what can be dispatched.
  const listener = createListenerMiddleware<State>()
  const withThunk = toStore(conflux({ ...base, ...storeOptions({ todos, users }) }), {
    middleware: [listener.middleware, thunk]
  })
  expect<number>().toBe(
    withThunk.dispatch((dispatch, getState) => {
      dispatch(todos.actions.added('milk'))
      return (getState() as State).todos.length
    })
  )
  const load = createAsyncThunk('todos/load', async (id: number) => [`todo ${id}`])
  const loaded = await withThunk.dispatch(load(1))
  if (load.fulfilled.match(loaded)) expect<string[]>().toBe(loaded.payload)
  expect<string>().toBe((await withThunk.dispatch(users.actions.added('ann'))).payload)
  // @ts-expect-error without the middleware, a function is no action
  byKey.dispatch(() => 1)

  // The actions of a reducer that names them.
  type Counted = { type: 'up'; by: number } | { type: 'reset' }
  const counter = (state: number = 0, action: Counted) => (action.type === 'up' ? state + action.by : 0)
  const node = conflux({ ...base, ...storeOptions(counter, { preloadedState: 5 }) })
  const typed = toStore(node)
  expect<number>().toBe(typed.getState())
  await typed.dispatch({ type: 'up', by: 1 })
  // @ts-expect-error `by` is missing
  typed.dispatch({ type: 'up' })
  node.perform('dispatch', [{ type: 'reset' }])

  // With methods of one's own, which decide on the leader.
  const options = storeOptions(todos)
  const deciding = conflux({
    ...base,
    ...options,
    methods: {
      ...options.methods,
      addOnce(text: string): PayloadAction<string> | null {
        return this.getState().includes(text) ? null : todos.actions.added(text)
      }
    }
  })
  await deciding.perform('addOnce', ['milk'])
  expect<string[]>().toBe(toStore(deciding).getState())

  // In a test of an application.
  const c = await cluster(3, storeOptions({ todos, users }))
  expect<State>().toBe(toStore(await c.leader()).getState())
  return [store, any] satisfies Store<any, Action & UnknownAction>[]
}

main()
