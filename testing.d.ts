import conflux = require('./index')

/**
 * A cluster for a test of your application: real nodes in this process, on a memory channel of their own, so that tests
 * may run side by side. Resolves once all nodes have caught up.
 *
 * @example
 * ```js
 * const { cluster } = require('conflux/testing')
 *
 * test('the counter survives its leader', async () => {
 *   await using c = await cluster(3, { initialState: 0, methods: { add: n => n }, reduce: (sum, n) => sum + n })
 *   const leader = await c.leader()
 *   await leader.perform('add', [1])
 *   c.crash(leader)
 *   const next = await c.leader()
 *   await next.perform('add', [1])
 *   await c.settled()
 *   assert.equal(next.getState(), 2)
 * })
 * ```
 *
 * @param size how many nodes, from 1 to 99; their ids are `a`, `b`, `c`, …
 * @param options those of `conflux(options)`, or a function of a node's id that gives them, for what nodes must not
 *   share (a `storage`). Use those of your application: the cluster replaces `id`, `clusterSize` and `channel`.
 * @throws what `conflux(options)` throws, or the failure of a node; then all nodes are closed.
 */
export function cluster<State, Methods extends conflux.AnyMethods = conflux.AnyMethods>(
  size: number,
  options: OptionsWithInitialState<State, Methods>
): Promise<Cluster<State, Methods>>
export function cluster<State, Methods extends conflux.AnyMethods = conflux.AnyMethods>(
  size: number,
  options: OptionsWithoutInitialState<State, Methods>
): Promise<Cluster<State, Methods>>
export function cluster<State, Methods extends conflux.AnyMethods = conflux.AnyMethods>(
  size: number,
  options: OptionsOfRedux<State, Methods>
): Promise<Cluster<State, Methods>>
export function cluster<State, Methods extends conflux.AnyMethods = conflux.AnyMethods>(
  size: number,
  options: (id: string) => OptionsWithInitialState<State, Methods>
): Promise<Cluster<State, Methods>>
export function cluster<State, Methods extends conflux.AnyMethods = conflux.AnyMethods>(
  size: number,
  options: (id: string) => OptionsWithoutInitialState<State, Methods> | OptionsOfRedux<State, Methods>
): Promise<Cluster<State, Methods>>

export interface Cluster<State = unknown, Methods extends conflux.AnyMethods = conflux.AnyMethods> {
  /** All nodes, in the order of their ids, also those that have crashed. */
  readonly nodes: conflux.Node<State, Methods>[]

  /** The name of the memory channel that the nodes share; no other cluster has it. */
  readonly channelName: string

  /**
   * The node that leads, among those that are neither crashed nor isolated; waits until there is one.
   *
   * @throws `ERR_CONFLUX_TIMEOUT`; the message says of each node what it does. Default: 4000 ms.
   */
  leader(options?: WaitOptions): Promise<conflux.Node<State, Methods>>

  /**
   * Waits until all nodes that are neither crashed nor isolated follow one leader, have no calls pending, and have the
   * same state.
   *
   * @throws `ERR_CONFLUX_TIMEOUT`, likewise.
   */
  settled(options?: WaitOptions): Promise<void>

  /** Isolates a node: no frame reaches it or leaves it until `heal`. The node itself continues to run and to answer. */
  isolate(node: conflux.Node<State, Methods>): void

  /** Ends all isolation. The nodes need some time to notice: `settled` waits for that. */
  heal(): void

  /**
   * Ends a node as `kill -9` ends a process: the others are not notified, and elect another leader once it is silent. Calls
   * of the node that are pending reject with `ERR_CONFLUX_CLOSED`.
   */
  crash(node: conflux.Node<State, Methods>): void

  /** Closes all nodes. Calling it again gives the same promise. */
  close(): Promise<void>

  /** `await using c = await cluster(…)` closes the cluster at the end of the block. */
  [Symbol.asyncDispose](): Promise<void>
}

export interface WaitOptions {
  /** Milliseconds, from 0 to 2147483647. Default: 4000. */
  timeout?: number | null | undefined
}

/** @internal All options that infer nothing; those that the cluster chooses are ignored. */
interface Common extends Partial<Omit<conflux.CommonOptions<any, any>, 'methods'>> {}

/** The options of all nodes; see `conflux.OptionsWithInitialState`. */
export interface OptionsWithInitialState<State, Methods extends conflux.AnyMethods> extends Common {
  initialState: State | (() => State)
  methods: Methods & conflux.Checked<Methods> & ThisType<conflux.MethodContext<State>>
  reduce(state: NoInfer<State>, action: conflux.Action<NoInfer<Methods>>): NoInfer<State>
}

/** As in conflux 1.x: the reducer makes the initial state; see `conflux.OptionsWithoutInitialState`. */
export interface OptionsWithoutInitialState<State, Methods extends conflux.AnyMethods> extends Common {
  initialState?: undefined
  methods: Methods & conflux.Checked<Methods> & ThisType<conflux.MethodContext<State>>
  reduce(state: State | undefined, action: conflux.Action<NoInfer<Methods>> | null): State
}

/** The reducer is one of Redux; see `conflux.OptionsOfRedux`. */
export interface OptionsOfRedux<State, Methods extends conflux.AnyMethods> extends Common {
  initialState?: undefined
  methods: Methods & conflux.Checked<Methods> & ThisType<conflux.MethodContext<State>>
  reduce(state: State | undefined, action: conflux.Action<NoInfer<Methods>>): State
}

/**
 * The contract of a custom channel, as tests: call it in a file of your tests. A channel may lose, repeat, delay and
 * reorder frames; it must never alter a frame, nor deliver it to a node that it is not for. docs/channels.md says more.
 *
 * @example
 * ```js
 * const test = require('node:test') // or the global `test` of Jest and Vitest, or `it` of Mocha
 * const { channelContract } = require('conflux/testing')
 *
 * channelContract(() => ({ join: myChannel('a topic').join, elsewhere: myChannel('another topic').join }), { test })
 * ```
 *
 * @param makeVenue called for each test.
 * @throws {TypeError} `ERR_CONFLUX_INVALID_ARGUMENT`: an argument is wrong.
 */
export function channelContract(
  makeVenue: () => ChannelVenue | Promise<ChannelVenue>,
  options: ChannelContractOptions
): void

/** The place where a channel is tested. */
export interface ChannelVenue {
  /** All nodes that join by it receive each other's frames. */
  join: conflux.CustomChannel['join']
  /**
   * The same for another channel, whose nodes must not receive frames of the first. Without it, that is not tested.
   */
  elsewhere?: conflux.CustomChannel['join'] | undefined
  /** Releases what the venue needs, after all have left. */
  close?(): unknown
}

export interface ChannelContractOptions {
  /** Of the test runner. */
  test(name: string, run: () => Promise<void>): unknown
  /** Milliseconds for each test. Default: 4000. */
  timeout?: number | undefined
}
