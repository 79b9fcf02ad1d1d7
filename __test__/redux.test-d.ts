// Compiled, never run: slices of Redux Toolkit are methods and a reducer as they are.
import conflux = require('..')
import { createSlice, type PayloadAction } from '@reduxjs/toolkit'

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
    },
    cleared: () => []
  }
})

// The initial state comes from the reducer, as in Redux.
const fromReducer = conflux({
  ...base,
  methods: {
    add(text: string) {
      return this.getState().includes(text) ? null : todos.actions.added(text)
    }
  },
  reduce: todos.reducer
})
expect<string[]>().toBe(fromReducer.getState())
fromReducer.perform('add', ['milk'])
// @ts-expect-error a string is needed
fromReducer.perform('add', [1])

// The action creators are the methods.
const fromSlice = conflux({
  ...base,
  initialState: todos.getInitialState,
  methods: todos.actions,
  reduce: todos.reducer
})
expect<string[]>().toBe(fromSlice.getState())
fromSlice.perform('added', ['milk'])
fromSlice.perform('cleared')
// @ts-expect-error a string is needed
fromSlice.perform('added', [1])

const withValue = conflux({
  ...base,
  initialState: todos.getInitialState(),
  methods: todos.actions,
  reduce: todos.reducer
})
withValue.perform('added', ['milk'])
