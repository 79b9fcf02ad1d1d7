// Compiled, never run: what must be accepted is, and after each `@ts-expect-error` what must be refused is.
import conflux = require('..')

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
declare function expect<Expected>(): {
  toBe<Actual>(actual: Actual, ...proof: Equal<Actual, Expected> extends true ? [] : [never]): void
}

interface Lock {
  type: 'lock'
  owner: string
}
interface Unlock {
  type: 'unlock'
}

const node = conflux({
  id: 'a',
  clusterSize: 3,
  channel: { name: 'redis' },
  methods: {
    lock(owner: string): Lock | Error {
      if (this.getProvisionalState().owner !== null) return new Error('locked')
      expect<string | null>().toBe(this.getProvisionalState().owner)
      // @ts-expect-error the state has no such part
      this.getProvisionalState().nobody
      return { type: 'lock', owner }
    },
    unlock(): Unlock | null {
      return this.getState().owner === null ? null : { type: 'unlock' }
    },
    noop() {},
    add(a: number, b?: number) {
      return { type: 'add' as const, sum: a + (b ?? 0) }
    }
  },
  reduce(state: { owner: string | null; sum: number } = { owner: null, sum: 0 }, action) {
    switch (action?.type) {
      case 'lock':
        return { ...state, owner: action.owner }
      case 'unlock':
        return { ...state, owner: null }
      case 'add':
        return { ...state, sum: state.sum + action.sum }
      // @ts-expect-error no method makes such an action
      case 'other':
    }
    return state
  }
})

async function performs() {
  expect<Lock>().toBe(await node.perform('lock', ['me']))
  expect<Lock>().toBe(await node.perform('lock', ['me'], 5000))
  expect<Lock>().toBe(await node.perform('lock', ['me'], null))
  expect<Unlock | undefined>().toBe(await node.perform('unlock'))
  expect<Unlock | undefined>().toBe(await node.perform('unlock', [], 100))
  expect<undefined>().toBe(await node.perform('noop'))
  expect<{ type: 'add'; sum: number }>().toBe(await node.perform('add', [1]))
  await node.perform('add', [1, 2])

  // @ts-expect-error a string is needed
  await node.perform('lock', [1])
  // @ts-expect-error an argument is needed
  await node.perform('lock')
  // @ts-expect-error an argument is needed
  await node.perform('lock', [])
  // @ts-expect-error one argument too many
  await node.perform('lock', ['me', 'you'])
  // @ts-expect-error arguments come as an array
  await node.perform('lock', 'me')
  // @ts-expect-error no such method
  await node.perform('zooby')
  // @ts-expect-error a timeout is a number
  await node.perform('lock', ['me'], 'soon')
  const { signal } = new AbortController()
  expect<Lock>().toBe(await node.perform('lock', ['me'], { timeout: 5000, signal }))
  await node.perform('unlock', null, { signal: undefined })
  // @ts-expect-error no such option
  await node.perform('lock', ['me'], { timeuot: 5000 })
  // @ts-expect-error a signal is needed
  await node.perform('lock', ['me'], { signal: new AbortController() })
}

function callbacks() {
  const nothing: void = node.perform('lock', ['me'], (error, action) => {
    expect<conflux.PerformError | null>().toBe(error)
    expect<Lock | undefined>().toBe(action)
    if (error !== null) expect<'refused' | 'not-applied' | 'unknown'>().toBe(error.outcome)
  })
  node.perform('lock', ['me'], 5000, () => {})
  node.perform('lock', ['me'], undefined, () => {})
  node.perform('lock', ['me'], { timeout: 5000 }, () => {})
  // @ts-expect-error a string is needed
  node.perform('lock', [1], () => {})
  return nothing
}

async function theRest() {
  expect<{ owner: string | null; sum: number }>().toBe(node.getState())
  expect<{ owner: string | null; sum: number }>().toBe(node.getProvisionalState())
  expect<() => void>().toBe(node.subscribe(() => {}))
  node.subscribe(({ action, index }) => {
    expect<number>().toBe(index)
    if (action?.type === 'lock') expect<string>().toBe(action.owner)
  })
  for await (const { action } of node.commits({ from: 1 })) {
    expect<'lock' | 'unlock' | 'add'>().toBe(action.type)
  }
  // @ts-expect-error a function is needed
  node.subscribe('x')
  node.subscribe(() => {}, { signal: AbortSignal.timeout(1000) })
  // @ts-expect-error no such option
  node.subscribe(() => {}, { once: true })
  const unwatch = node.watch(
    state => state.owner,
    (owner, previous) => {
      expect<string | null>().toBe(owner)
      expect<string | null>().toBe(previous)
    },
    { equals: (a, b) => a === b, signal: AbortSignal.timeout(1000) }
  )
  expect<() => void>().toBe(unwatch)
  // @ts-expect-error the state has no such part
  node.watch(state => state.nobody, String)

  const status = node.status()
  expect<conflux.Role>().toBe(status.role)
  expect<string | null>().toBe(status.leader)
  expect<conflux.Member[]>().toBe(status.members)

  node
    .on('leader', id => expect<string | null>().toBe(id))
    .on('role', role => expect<conflux.Role>().toBe(role))
    .once('error', error => expect<conflux.ErrorCode>().toBe(error.code))
    .on('close', () => {})
    .on('warning', warning => {
      expect<string>().toBe(warning.message)
      if (warning.code === 'WARN_CONFLUX_WAITING_FOR_NODES') expect<string[]>().toBe(warning.heard)
    })
    .unref()
    .ref()
  // @ts-expect-error no such event
  node.on('leaders', () => {})

  expect<boolean>().toBe(status.quorum.lost)
  expect<{ id: string; silentMs: number }[]>().toBe(status.quorum.missing)
  expect<string | null>().toBe(status.diverged)
  expect<string | null>().toBe(status.members[0]!.version)
  expect<number | null>().toBe(status.members[0]!.matchedIndex)

  node
    .on('diverged', error => {
      expect<'ERR_CONFLUX_DIVERGED'>().toBe(error.code)
      expect<number>().toBe(error.index)
    })
    .on('restored', () => {})

  await node.ready()
  await node.ready({ timeout: 1000, signal: AbortSignal.timeout(100) })
  // @ts-expect-error no such option
  await node.ready({ timeuot: 1000 })
  expect<void>().toBe(await node.close())
  expect<void>().toBe(node.close(error => expect<null>().toBe(error)))
  expect<void>().toBe(await node.close({ timeout: 100, leave: true }))
  expect<void>().toBe(node.close({}, error => expect<null>().toBe(error)))
  expect<void>().toBe(node.close(null, () => {}))
  // @ts-expect-error no such option
  node.close({ leaves: true })
}

async function asks() {
  expect<void>().toBe(await node.sync())
  await node.sync({ timeout: 100, signal: AbortSignal.timeout(100) })
  await node.transferLeadership()
  await node.transferLeadership('b')
  await node.transferLeadership('b', { timeout: 100 })
  await node.transferLeadership({ timeout: 100 })
  await node.remove('b', { timeout: 100 })
  await node.resize(5)
  await node.recover({ iUnderstandThatActionsMayBeLost: true, timeout: 100 })
  // @ts-expect-error an id is needed
  await node.remove()
  // @ts-expect-error a number is needed
  await node.resize('5')
  // @ts-expect-error it is not done in passing
  await node.recover()
  // @ts-expect-error nor without understanding
  await node.recover({ iUnderstandThatActionsMayBeLost: false })
}

// The functions stand for themselves.
const { perform, getState } = node
void perform('lock', ['me'])
expect<number>().toBe(getState().sum)

// The printed example of the README, in TypeScript.
const list = conflux({
  id: 'a',
  clusterSize: 1,
  channel: { name: 'memory', channelName: 'lists' },
  methods: {
    append(thing: string) {
      return thing
    }
  },
  reduce(state: string[] = [], action) {
    expect<string | null>().toBe(action)
    return action === null ? state : state.concat(action)
  },
  electionTimeout: { min: 300, max: 500 },
  heartbeatInterval: 50,
  maxPending: 10,
  accelerateHeartbeats: true
})
expect<string[]>().toBe(list.getState())

// A node can be named: in a signature, a class, a variable.
const any: conflux.Node = node
const named: conflux.Node<string[], { append(thing: string): string }> = list
const options: conflux.Options<number, {}> = {
  id: 'a',
  clusterSize: 1,
  channel: { name: 'redis', connectionString: 'rediss://user:secret@host:6380/2' },
  methods: {},
  reduce: () => 1
}
expect<number>().toBe(conflux(options).getState())

// The state need not be JSON if it can be turned into JSON.
const users = conflux({
  id: 'a',
  clusterSize: 1,
  channel: { name: 'memory' },
  methods: {},
  reduce: (state: Map<string, number> = new Map()) => state,
  storage: { path: 'data' },
  snapshot: {
    entries: 100,
    serialize: state => {
      expect<Map<string, number>>().toBe(state)
      return [...state]
    },
    deserialize: pairs => new Map(pairs)
  },
  version: '2',
  compareStates: false,
  checkState: false,
  quorumLoss: { recoverAfter: 60_000 }
})
expect<Map<string, number>>().toBe(users.getState())

const base = { id: 'a', clusterSize: 3, methods: {}, reduce: () => 0 }
// @ts-expect-error a channel is needed
conflux(base)
// @ts-expect-error options are needed
conflux()
// @ts-expect-error no such channel
conflux({ ...base, channel: { name: 'carrier pigeon' } })
// @ts-expect-error not an option of this channel
conflux({ ...base, channel: { name: 'memory', host: 'localhost' } })
// @ts-expect-error a number is needed
conflux({ ...base, channel: { name: 'memory' }, clusterSize: '3' })
// @ts-expect-error both ends are needed
conflux({ ...base, channel: { name: 'memory' }, electionTimeout: { min: 300 } })
// @ts-expect-error they belong together
conflux({ ...base, channel: { name: 'memory' }, snapshot: { serialize: () => 1 } })
// @ts-expect-error a state is needed
conflux({ ...base, channel: { name: 'memory' }, snapshot: { serialize: () => 1, deserialize: () => 'x' } })
// @ts-expect-error a path is needed
conflux({ ...base, channel: { name: 'memory' }, storage: '/data' })
// @ts-expect-error neither waits nor says after what time
conflux({ ...base, channel: { name: 'memory' }, quorumLoss: 'recover' })
conflux({
  ...base,
  channel: { name: 'memory' },
  // @ts-expect-error a typo
  heartbeatIntervall: 50
})
conflux({
  ...base,
  channel: { name: 'memory' },
  methods: {
    // @ts-expect-error a method is a function
    append: 'append'
  }
})

export { any, asks, named, performs, callbacks, theRest }

interface Held {
  type: 'held'
  owner: { readonly id: string; readonly session: number | null }
}

const withSessions = conflux({
  id: 'a',
  clusterSize: 1,
  channel: { name: 'memory' },
  sessions: { timeout: 2000 },
  initialState: { owner: null as string | null },
  methods: {
    hold(): Held | null {
      expect<number | null>().toBe(this.caller.session)
      expect<readonly conflux.Session[]>().toBe(this.sessions())
      // @ts-expect-error a caller has no such part
      this.caller.name
      return this.getProvisionalState().owner === null ? { type: 'held', owner: this.caller } : null
    }
  },
  reduce(state, action: Held | conflux.SessionAction) {
    switch (action.type) {
      case 'held':
        return { owner: action.owner.id }
      case '@@conflux/SESSION_ENDED':
        return state.owner === action.id ? { owner: null } : state
      default:
        expect<'joined' | 'returned' | 'restarted'>().toBe(action.reason)
        return state
    }
  }
})

async function sessions() {
  expect<Held | undefined>().toBe(await withSessions.perform('hold'))
  withSessions.on('session', ({ session, previous, reason }) => {
    expect<number | null>().toBe(session)
    expect<number | null>().toBe(previous)
    expect<conflux.SessionAction['reason']>().toBe(reason)
  })
  expect<conflux.Session[]>().toBe(withSessions.status().sessions)
  const stop = withSessions.whileLeader(async ({ signal, token }) => {
    expect<boolean>().toBe(signal.aborted)
    expect<number>().toBe(token)
  })
  expect<Promise<void>>().toBe(stop())
  const rest = { id: 'a', clusterSize: 1, channel: { name: 'memory' }, methods: {}, reduce: () => 0 } as const
  // @ts-expect-error it is true or an object
  conflux({ ...rest, sessions: 'on' })
}
