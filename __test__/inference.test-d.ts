// Compiled, never run: the state and the methods are inferred, however the options are written.
import conflux = require('..')

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
declare function expect<Expected>(): {
  toBe<Actual>(actual: Actual, ...proof: Equal<Actual, Expected> extends true ? [] : [never]): void
}

const base = { id: 'a', clusterSize: 1, channel: { name: 'memory' } } as const

interface Withdrawn {
  type: 'WITHDRAWN'
  amount: number
}

// With `initialState` nothing needs an annotation but the parameters of methods.
const account = conflux({
  ...base,
  initialState: 100,
  methods: {
    withdraw(amount: number) {
      const balance = this.getProvisionalState()
      expect<number>().toBe(balance)
      return amount <= balance ? { type: 'WITHDRAWN' as const, amount } : new Error('not enough money')
    }
  },
  reduce(balance, action) {
    expect<number>().toBe(balance)
    expect<'WITHDRAWN'>().toBe(action.type)
    return balance - action.amount
  }
})
expect<number>().toBe(account.getState())
expect<Promise<Withdrawn>>().toBe(account.perform('withdraw', [60]) as Promise<Withdrawn>)
// @ts-expect-error a number is needed
account.perform('withdraw', ['60'])

// `reduce` before `methods`: all is known where the methods do not use `this`, and nothing is an error where they do.
const reducerFirst = conflux({
  ...base,
  reduce(balance, action) {
    expect<number>().toBe(balance)
    expect<Withdrawn>().toBe(action)
    return balance - action.amount
  },
  methods: { withdraw: (amount: number) => ({ type: 'WITHDRAWN' as const, amount }) },
  initialState: () => 100
})
expect<number>().toBe(reducerFirst.getState())
reducerFirst.perform('withdraw', [60])
// @ts-expect-error a number is needed
reducerFirst.perform('withdraw', ['60'])
// @ts-expect-error no such method
reducerFirst.perform('deposit', [60])

const reducerFirstWithThis = conflux({
  ...base,
  initialState: 100,
  reduce(balance, action) {
    expect<number>().toBe(balance)
    return action.type === 'WITHDRAWN' ? balance - action.amount : balance
  },
  methods: {
    withdraw(amount: number) {
      return amount <= this.getProvisionalState() ? { type: 'WITHDRAWN' as const, amount } : null
    }
  }
})
expect<number>().toBe(reducerFirstWithThis.getState())
reducerFirstWithThis.perform('withdraw', [60])

// The reducer returns a state, of the same type.
conflux({
  ...base,
  initialState: { count: 0 },
  methods: { add: (n: number) => n },
  // @ts-expect-error not the state
  reduce: (state, n) => state.count + n
})
conflux({
  ...base,
  initialState: 0,
  methods: { add: (n: number) => n },
  // @ts-expect-error `n` is never null, and the state never undefined
  reduce: (sum, n) => (n === null ? (sum satisfies undefined) : sum + n)
})

// A reducer returns literals: of a union that they tell apart, deep within, and alone.
type Door = { is: 'open' } | { is: 'locked'; by: string; log?: { kind: 'in' | 'out' }[] }
const door = conflux({
  ...base,
  initialState: { is: 'open' } as Door,
  methods: { lock: (by: string) => ({ by }) },
  reduce: (_, { by }) => ({ is: 'locked', by, log: [{ kind: 'out' }] })
})
expect<Door>().toBe(door.getState())
const doors = conflux({
  ...base,
  initialState: (): { first: Door; names: string[]; mode: 'day' | 'night' } => ({
    first: { is: 'open' },
    names: [],
    mode: 'day'
  }),
  methods: {
    lock(by: string) {
      return this.getState().mode === 'day' ? { by } : null
    }
  },
  reduce(state, { by }) {
    if (by === '') return { ...state, mode: 'night' }
    return { ...state, first: { is: 'locked', by }, names: [by] }
  }
})
expect<'day' | 'night'>().toBe(doors.getState().mode)
const light = conflux({
  ...base,
  initialState: 'off' as 'on' | 'off',
  methods: { toggle: () => 'toggle' as const },
  reduce: state => (state === 'on' ? 'off' : 'on')
})
expect<'on' | 'off'>().toBe(light.getState())
conflux({
  ...base,
  initialState: { is: 'open' } as Door,
  methods: { lock: (by: string) => ({ by }) },
  // @ts-expect-error no such state
  reduce: (_, { by }) => ({ is: 'lokced', by })
})
conflux({
  ...base,
  initialState: { mode: 'day' as 'day' | 'night' },
  methods: { dawn: () => 1 },
  // @ts-expect-error no such mode
  reduce: state => ({ ...state, mode: 'dusk' })
})

// A state can be null.
const nullable = conflux({
  ...base,
  initialState: null as Withdrawn | null,
  methods: { set: (next: Withdrawn) => next },
  reduce: (_, next) => next
})
expect<Withdrawn | null>().toBe(nullable.getState())

// The state alone is named: the methods are not checked, and all of them are there.
const named = conflux<string[]>({
  ...base,
  methods: {
    append(thing: string) {
      expect<string[]>().toBe(this.getState())
      return thing
    }
  },
  reduce: (state = [], action) => (action === null ? state : [...state, action])
})
expect<string[]>().toBe(named.getState())
named.perform('append', ['x'])
const namedWithState = conflux<string[]>({
  ...base,
  initialState: [],
  methods: { append: (thing: string) => thing },
  reduce: (state, action) => [...state, action]
})
namedWithState.perform('append', ['x'])

// Generic methods.
const settings = conflux({
  ...base,
  initialState: {} as Record<string, number>,
  methods: {
    set<Key extends string>(key: Key, value: number) {
      return { key, value }
    },
    raise<Key extends string>(key: Key): { key: Key; value: number } {
      return { key, value: (this.getState()[key] ?? 0) + 1 }
    }
  },
  reduce: (state, { key, value }) => ({ ...state, [key]: value })
})
settings.perform('set', ['x', 1])
settings.perform('raise', ['x'])
// @ts-expect-error a number is needed
settings.perform('set', ['x', '1'])

// Options that pass through a function of the application.
function open<State, Methods extends conflux.AnyMethods>(
  options: conflux.OptionsWithInitialState<State, Methods>
) {
  return conflux(options)
}
const opened = open({
  ...base,
  initialState: 1,
  methods: { add: (n: number) => n },
  reduce: (sum, n) => sum + n
})
expect<number>().toBe(opened.getState())
opened.perform('add', [1])
// @ts-expect-error a number is needed
opened.perform('add', ['1'])
function openAny<State, Methods extends conflux.AnyMethods>(options: conflux.Options<State, Methods>) {
  return conflux(options)
}
openAny({ ...base, methods: {}, reduce: () => 1 })

// Arguments may be readonly.
const pair = conflux({
  ...base,
  initialState: 0,
  methods: { add: (a: number, b: number) => ({ a, b }) },
  reduce: (sum, { a, b }) => sum + a + b
})
const args = [1, 2] as const
pair.perform('add', args)
pair.perform('add', args, 1000)
pair.perform('add', args, () => {})
pair.perform('add', args, 1000, () => {})
// @ts-expect-error one is missing
pair.perform('add', [1] as const)

// What an action must be.
interface Tree {
  children: Tree[]
  name?: string
}
conflux({
  ...base,
  initialState: 0,
  methods: {
    tree: (tree: Tree): Tree | null | undefined | Error => tree,
    readonly: (): { readonly list: readonly string[] } => ({ list: [] }),
    tuple: (): [string, number | null] => ['x', null],
    optional: (): { at?: number | undefined } => ({}),
    literal: () => 'x' as const,
    anything: thing => thing,
    unknown: (thing: unknown) => thing,
    nothing() {}
  },
  reduce: state => state
})
conflux({
  ...base,
  initialState: 0,
  methods: {
    // @ts-expect-error synchronous
    async later() {
      return 1
    },
    // @ts-expect-error synchronous
    *steps() {
      yield 1
    },
    // @ts-expect-error a string on the other side
    date: () => ({ at: new Date() }),
    // @ts-expect-error {} on the other side
    map: () => new Map<string, number>(),
    // @ts-expect-error likewise
    set: () => [new Set<string>()],
    // @ts-expect-error JSON has no such number
    bigint: () => 1n,
    // @ts-expect-error an object on the other side
    bytes: () => new Uint8Array(1),
    // @ts-expect-error gone on the other side
    callback: () => ({ call: () => 1 }),
    // @ts-expect-error deep within
    deep: (): { list: { tree: { at: Date } }[] } | null => null
  },
  reduce: state => state
})

// Of any value.
function handle(error: unknown) {
  if (conflux.isPerformError(error)) {
    expect<'refused' | 'not-applied' | 'unknown'>().toBe(error.outcome)
    if (error.code === 'ERR_CONFLUX_TIMEOUT') return
    // A method's own code.
    if (error.code === 'NOT_FOUND') return
  }
  // @ts-expect-error it may be anything
  error.code
}
function retry(code: conflux.ErrorCode) {
  switch (code) {
    case 'ERR_CONFLUX_BUSY':
      return true
    // @ts-expect-error no such code
    case 'ERR_CONFLUX_BUSSY':
      return false
  }
  return false
}

export { handle, retry }
