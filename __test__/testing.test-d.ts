// Compiled, never run: a cluster of `conflux/testing` knows the state and the methods, as a node does.
import conflux = require('..')
import { channelContract, cluster, type Cluster } from '../testing'

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
declare function expect<Expected>(): {
  toBe<Actual>(actual: Actual, ...proof: Equal<Actual, Expected> extends true ? [] : [never]): void
}

async function main() {
  const account = await cluster(3, {
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
  const leader = await account.leader({ timeout: 1000 })
  expect<number>().toBe(leader.getState())
  await leader.perform('withdraw', [60])
  // @ts-expect-error a number is needed
  await leader.perform('withdraw', ['60'])
  account.isolate(leader)
  account.heal()
  account.crash(account.nodes[0]!)
  // @ts-expect-error a promise is no node
  account.crash(account.leader())
  // @ts-expect-error there is no such option
  await account.settled({ timeuot: 1 })
  expect<Promise<void>>().toBe(account.close())

  // The options of an application, with what the cluster chooses itself.
  const options = {
    id: 'a',
    clusterSize: 5,
    channel: { name: 'redis' as const },
    initialState: [] as string[],
    methods: { append: (thing: string) => thing },
    reduce: (things: string[], thing: string) => [...things, thing]
  }
  const things: Cluster<string[], { append: (thing: string) => string }> = await cluster(3, options)
  expect<string[]>().toBe(things.nodes[0]!.getState())

  // Of each node its own.
  const durable = await cluster(3, id => ({ ...options, storage: { path: `data/${id}` } }))
  expect<string[]>().toBe(durable.nodes[0]!.getState())

  // As in 1.x.
  const first = await cluster(1, {
    methods: { add: (n: number) => n },
    reduce: (sum: number | undefined, n: number | null) => (sum ?? 0) + (n ?? 0)
  })
  expect<number>().toBe(first.nodes[0]!.getState())

  // @ts-expect-error there is no such option
  await cluster(1, { ...options, storag: { path: 'x' } })
  // @ts-expect-error a size is needed
  await cluster({ ...options })

  const node: conflux.Node<string[], { append: (thing: string) => string }> = await things.leader()
  return node
}

main()

// The contract of a channel takes the function of any runner.
declare const runner: {
  test(name: string, body: () => Promise<unknown>): Promise<void>
  it(name: string, body?: (done: () => void) => unknown): { timeout(ms: number): void }
}
const channel: conflux.CustomChannel = {
  name: 'custom',
  channelName: 'topic',
  join(self, deliver, report) {
    expect<string>().toBe(self)
    deliver(new Uint8Array(1))
    // @ts-expect-error a frame is bytes
    deliver('text')
    report(new Error('broken'))
    report(null)
    return {
      send: (to: string, frame: Uint8Array) => frame.length,
      broadcast: frame => expect<Uint8Array>().toBe(frame),
      close: async () => {},
      ready: Promise.resolve()
    }
  }
}
const asynchronous: conflux.CustomChannel = {
  name: 'custom',
  join: async () => ({ send() {}, broadcast() {}, close() {} })
}
// @ts-expect-error it must be possible to leave
const endless: conflux.CustomChannel = { name: 'custom', join: () => ({ send() {}, broadcast() {} }) }
channelContract(() => ({ join: channel.join, elsewhere: asynchronous.join, close() {} }), {
  test: runner.test
})
channelContract(async () => ({ join: endless.join }), { test: runner.it, timeout: 1000 })
// @ts-expect-error a runner is needed
channelContract(() => ({ join: channel.join }), {})

const overSocketIO: conflux.SocketIOChannel = { name: 'socket.io', host: 'http://localhost:8000' }
conflux({
  id: 'a',
  clusterSize: 1,
  channel: overSocketIO,
  initialState: 0,
  methods: {},
  reduce: state => state
})
conflux({ id: 'a', clusterSize: 1, channel, initialState: 0, methods: {}, reduce: state => state })
