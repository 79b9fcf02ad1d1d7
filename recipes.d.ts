import conflux = require('./index')

/**
 * Recipes: ready-made methods and reducers that are mounted under keys of one state, beside the application's own, with
 * a client on top of a node for each.
 *
 * @example
 * ```js
 * const conflux = require('conflux')
 * const { compose, locks, presence } = require('conflux/recipes')
 *
 * const node = conflux({
 *   id: 'a',
 *   clusterSize: 3,
 *   channel: { name: 'redis' },
 *   sessions: true,
 *   ...compose({ locks: locks(), online: presence() }, { initialState, methods, reduce })
 * })
 *
 * const mutex = locks.client(node, 'locks')
 * await mutex.run('invoice 7', async lock => send(invoice, lock.token))
 * ```
 *
 * The state of each recipe is at its key, and the application's own at `app`: `node.getState().app`. In the application's
 * methods, `this.getProvisionalState()` gives the whole state; its reducer receives its own part, with its own actions
 * and those of sessions. The methods of a recipe are called by its client; their names and the types of their actions
 * begin with its key (`locks/acquire`, `locks/REQUESTED`).
 *
 * All nodes mount the same recipes under the same keys. A recipe that is mounted in a later version of an application
 * begins with its initial state.
 *
 * @param recipes by key. A key has no `/` and at most 50 bytes, and is not `app`.
 * @param application the application's own part, if it has one: with `initialState`, or with a reducer that makes it.
 * @throws {TypeError} `ERR_CONFLUX_INVALID_ARGUMENT`: the message says what is wrong.
 */
export function compose<Parts extends Recipes>(recipes: Parts): Composed<StateOf<Parts>, MethodsOf<Parts>>
export function compose<Parts extends Recipes, State, Methods extends conflux.AnyMethods>(
  recipes: Parts,
  application: {
    initialState: State | (() => State)
    methods: Methods & conflux.Checked<Methods> & ThisType<conflux.MethodContext<WithOwn<Parts, State>>>
    reduce(state: NoInfer<State>, action: conflux.Action<NoInfer<Methods>>): NoInfer<State>
  }
): Composed<WithOwn<Parts, NoInfer<State>>, MethodsOf<Parts> & NoInfer<Methods>>
export function compose<Parts extends Recipes, State, Methods extends conflux.AnyMethods>(
  recipes: Parts,
  application: {
    initialState?: undefined
    methods: Methods & conflux.Checked<Methods> & ThisType<conflux.MethodContext<WithOwn<Parts, State>>>
    reduce(state: State | undefined, action: conflux.Action<NoInfer<Methods>> | null): State
  }
): Composed<WithOwn<Parts, NoInfer<State>>, MethodsOf<Parts> & NoInfer<Methods>>
export function compose<Parts extends Recipes, State, Methods extends conflux.AnyMethods>(
  recipes: Parts,
  application: {
    initialState?: undefined
    methods: Methods & conflux.Checked<Methods> & ThisType<conflux.MethodContext<WithOwn<Parts, State>>>
    reduce(state: State | undefined, action: conflux.Action<NoInfer<Methods>>): State
  }
): Composed<WithOwn<Parts, NoInfer<State>>, MethodsOf<Parts> & NoInfer<Methods>>

/** What `compose` gives: options of a node. */
export interface Composed<State, Methods extends conflux.AnyMethods> {
  initialState: () => State
  methods: Methods
  reduce(state: State, action: conflux.Action<Methods>): State
}

/** The methods and the reducer that are mounted under a key. */
export interface Recipe<State, Methods extends conflux.AnyMethods> {
  readonly name: string
  readonly initialState: State
  readonly methods: Methods
  reduce(state: State, action: any): State
}

export type Recipes = Record<string, Recipe<any, any>>

/** The state of these recipes, by key. */
export type StateOf<Parts extends Recipes> = {
  [Key in keyof Parts]: Parts[Key] extends Recipe<infer State, any> ? State : never
}

/** The same with the application's own part. */
export type WithOwn<Parts extends Recipes, State> = StateOf<Parts> & { app: State }

/** The methods of these recipes, with their keys as prefixes. */
export type MethodsOf<Parts extends Recipes> = {
  [Name in NamesOf<Parts>]: Name extends `${infer Key}/${infer Method}`
    ? MountedMethod<Parts, Key, Method>
    : never
}

/** @internal */
type NamesOf<Parts extends Recipes> = {
  [Key in keyof Parts & string]: `${Key}/${keyof Parts[Key]['methods'] & string}`
}[keyof Parts & string]

/** @internal */
type MountedMethod<
  Parts extends Recipes,
  Key extends string,
  Method extends string
> = Parts[Key]['methods'][Method] extends (...args: infer Args) => infer Returned
  ? (...args: Args) => Mounted<Key, Returned>
  : never

/** @internal The action with the key before its type. */
type Mounted<Key extends string, Returned> = Returned extends { type: infer Type extends string }
  ? Omit<Returned, 'type'> & { type: `${Key}/${Type}` }
  : Returned

/** @internal A node whose state has this part at this key. */
type NodeWith<Key extends string, Part> = Pick<
  conflux.Node<{ [K in Key]: Part }, any>,
  'getState' | 'status' | 'watch'
>

/** Options of each call of a client. */
export interface CallOptions {
  /** Milliseconds. Default: no limit. */
  timeout?: number | null | undefined
  signal?: conflux.Signal | null | undefined
}

/**
 * Locks by key: exclusive locks, locks with readers and writers, and semaphores. Requests for a lock are granted in the
 * order in which the leader received them; readers behind a waiting writer wait.
 *
 * A lock ends when it is released, and otherwise with its lease or the session of its owner:
 *
 * - by session, the default: when the node that holds it ends or is considered dead (the option `sessions`).
 * - by lease: with a `duration`, once that is over, even if the owner is alive. `sessions` is not needed.
 * - by both: with a `duration` and `session: true`, with whichever ends first.
 *
 * No lock protects a resource outside conflux from an owner that has lost its lock and does not know it yet: pass the
 * fencing token to the resource, and let it refuse a token that is lower than one it has seen (docs/coordination.md).
 */
export function locks(): Recipe<LocksState, LocksMethods>

export namespace locks {
  /**
   * @param key the key under which the recipe is mounted.
   * @throws {TypeError} `ERR_CONFLUX_INVALID_ARGUMENT`: there are no locks at this key. Here for a node with a state that
   *   can be read, else from the first call.
   */
  function client<Key extends string>(node: NodeWith<Key, LocksState>, key: Key): Locks
}

export interface Locks {
  /**
   * Takes a lock, and waits until it is granted.
   *
   * @param key a non-empty string of at most 200 bytes.
   * @throws `ERR_CONFLUX_LOCK_TIMEOUT`: it was not granted within `maxWait`. With `maxWait: 0`, `error.holders` are its
   *   owners.
   * @throws `ERR_CONFLUX_LOCK_LOST`: the request ended while it waited, with the session of this node; or its lease was
   *   over before this node knew of it.
   * @throws {PerformError} what `node.perform` rejects with, among others an `AbortError`.
   */
  acquire(key: string, options?: LockOptions): Promise<Lock>

  /** Takes a lock, runs the function while it is held, and releases it. Resolves with what the function returns. */
  run<Result>(key: string, task: (lock: Lock) => Result | PromiseLike<Result>): Promise<Result>
  run<Result>(
    key: string,
    options: LockOptions | null | undefined,
    task: (lock: Lock) => Result | PromiseLike<Result>
  ): Promise<Result>

  /** The owners of a lock, as this node knows. */
  holders(key: string): LockHolder[]

  /** How many requests wait for a lock, as this node knows. */
  waiting(key: string): number
}

export interface LockOptions {
  /** `'read'`: beside other readers, but no writer. Default: `'write'`. */
  mode?: 'write' | 'read' | undefined
  /** Makes it a semaphore with this many permits. It must be the same for all requests as long as the key is in use. */
  limit?: number | undefined
  /** How many permits of a semaphore. Default: 1. */
  permits?: number | undefined
  /** A lease of this many milliseconds, which begins with the grant. Default: none. */
  duration?: number | undefined
  /** Whether it ends with the session of this node. Default: true without a `duration`, false with one. */
  session?: boolean | undefined
  /** Names the owner among those of this node; a name is used by one request or lock at a time. Default: a new one. */
  owner?: string | undefined
  /** An owner that holds the lock takes it again, and releases it as often. Default: false. */
  reentrant?: boolean | undefined
  /**
   * Milliseconds for the whole call, including the wait for a leader. 0: the call is refused if the lock is not free.
   * Default: no limit.
   */
  maxWait?: number | undefined
  /** Ends the wait. */
  signal?: conflux.Signal | undefined
}

export interface Lock {
  readonly key: string
  /** The id of the node, a slash, and the name of the owner. */
  readonly owner: string
  readonly mode: 'write' | 'read'
  readonly permits: number
  /** The fencing token: it rises with each grant of any lock of this recipe. */
  readonly token: number
  /**
   * Aborts when the lock is no longer held: it was released, its lease is over, its session or its node has ended. The
   * reason is an error (`ERR_CONFLUX_LOCK_LOST`).
   */
  readonly signal: AbortSignal
  /**
   * Whether the lease lasts for this many more milliseconds, as far as this node knows. The lease is measured from before
   * the call that began it. After a change of the leader, the time of the cluster may be up to a second ahead. Without a
   * lease: whether the lock is held, as far as this node knows.
   */
  isValidForDuration(milliseconds: number): boolean
  /** When the lease ends, in milliseconds since 1970 by the clock of this machine; Infinity without a lease. */
  getTTL(): number
  getKey(): string
  /**
   * Lets the lease end so many milliseconds from now, whether that is later or earlier. It gives a lock without a lease one.
   *
   * @throws `ERR_CONFLUX_LOCK_LOST`: the lock is no longer held.
   */
  extend(milliseconds: number): Promise<void>
  /** Resolves with whether it was still held, once the release is committed. Calling it again gives the same promise. */
  release(): Promise<boolean>
  /** `await using lock = await mutex.acquire(…)` releases it at the end of the block. */
  [Symbol.asyncDispose](): Promise<void>
}

export interface LockHolder {
  owner: string
  /** The id of its node. */
  id: string
  mode: 'write' | 'read'
  permits: number
  token: number
  /** When its lease ends, by the cluster's clock; null without a lease, or if the lease has not begun. */
  until: number | null
}

/** Read it by a client: its shape may change. */
export interface LocksState {
  readonly recipe: 'locks/1'
  readonly token: number
  readonly locks: Readonly<Record<string, unknown>>
}

/** Called by the client. */
export type LocksMethods = {
  acquire(key: string, request: object): { type: 'REQUESTED'; key: string; at?: number }
  release(key: string, owner: string): { type: 'RELEASED'; key: string; owner: string; at?: number } | null
  extend(
    key: string,
    owner: string,
    duration: number
  ): { type: 'EXTENDED'; key: string; owner: string; duration: number; at: number }
  expire(key: string): { type: 'EXPIRED'; key: string; at: number } | null
}

/** Values by name that all nodes share, with compare-and-set. A value is JSON. */
export function flags(): Recipe<FlagsState, FlagsMethods>

export namespace flags {
  /** See `locks.client`. */
  function client<Key extends string>(node: NodeWith<Key, FlagsState>, key: Key): Flags
}

export interface Flags {
  /** The value on this node, or `fallback` if the flag is not set. */
  get(name: string): unknown
  get<Value>(name: string, fallback: Value): Value
  /** The value and its version on this node; null if the flag is not set. */
  entry(name: string): { readonly value: unknown; readonly version: number } | null
  /** All flags on this node, sorted by name. */
  entries(): [name: string, value: unknown][]
  /**
   * Resolves when the flag has the value, on this node too.
   *
   * @param value JSON, but not null.
   * @param options.ifVersion only if this is the version of the flag; 0: only if it is not set.
   * @throws `ERR_CONFLUX_CONFLICT`: it is not; `error.version` and `error.value` are the present ones.
   */
  set(name: string, value: unknown, options?: CallOptions & { ifVersion?: number | undefined }): Promise<void>
  /**
   * Sets the flag if its value equals the expected one (as JSON), and resolves with whether it did. An expected value of
   * null or undefined: only if the flag is not set. A value of null or undefined removes it.
   */
  compareAndSet(name: string, expected: unknown, value: unknown, options?: CallOptions): Promise<boolean>
  /** Resolves when the flag is not set. Options and errors as for `set`. */
  remove(name: string, options?: CallOptions & { ifVersion?: number | undefined }): Promise<void>
  /** Calls the listener when the value has changed on this node. See `node.watch`. */
  watch(
    name: string,
    listener: (value: unknown, previous: unknown) => void,
    options?: { signal?: conflux.Signal | undefined }
  ): () => void
}

/** Read it by a client: its shape may change. */
export interface FlagsState {
  readonly recipe: 'flags/1'
  readonly version: number
  readonly values: Readonly<Record<string, unknown>>
}

/** Called by the client. */
export type FlagsMethods = {
  set(name: string, value: any, expected: object | null): { type: 'SET'; name: string; value: any }
  remove(name: string, expected: object | null): { type: 'REMOVED'; name: string } | null
}

/**
 * Presence: entries by name with data, such as the users that are connected to a node. They end with the session of
 * the node that made them. It needs the option `sessions`.
 */
export function presence(): Recipe<PresenceState, PresenceMethods>

export namespace presence {
  /** See `locks.client`. */
  function client<Key extends string>(node: NodeWith<Key, PresenceState>, key: Key): Presence
}

export interface Presence {
  /**
   * This node has an entry of this name until it leaves, or until its session ends. If the session ended while the node
   * lived, the node enters again in its next one.
   *
   * @param data JSON; it replaces that of the entry. Default: null.
   */
  enter(name: string, data?: unknown, options?: CallOptions): Promise<void>
  /** Resolves with whether this node had entered this name. */
  leave(name: string, options?: CallOptions): Promise<boolean>
  /** All entries that this node knows, sorted by name, then by session. Several nodes may have one of the same name. */
  list(): PresenceEntry[]
  /** Those of one name. */
  get(name: string): PresenceEntry[]
  /** Calls the listener when the list has changed on this node. See `node.watch`. */
  watch(
    listener: (list: PresenceEntry[]) => void,
    options?: { signal?: conflux.Signal | undefined }
  ): () => void
}

export interface PresenceEntry {
  name: string
  data: unknown
  /** The id of its node. */
  id: string
  /** The number of that node's session. */
  session: number
}

/** Read it by a client: its shape may change. */
export interface PresenceState {
  readonly recipe: 'presence/1'
  readonly sessions: Readonly<Record<string, unknown>>
}

/** Called by the client. */
export type PresenceMethods = {
  enter(name: string, data: any): { type: 'ENTERED'; id: string; session: number; name: string; data: any }
  leave(name: string): { type: 'LEFT'; session: number; name: string } | null
}

/** Which node serves what, and which node a key belongs to. It needs the option `sessions`. */
export function registry(): Recipe<RegistryState, RegistryMethods>

export namespace registry {
  /** See `locks.client`. */
  function client<Key extends string>(node: NodeWith<Key, RegistryState>, key: Key): Registry
}

export interface Registry {
  /**
   * This node serves the service until it withdraws, or until its session ends. If the session ended while the node
   * lived, the node serves it again in its next one.
   *
   * @param data JSON, such as an address; it replaces the former one. Default: null.
   */
  serve(service: string, data?: unknown, options?: CallOptions): Promise<void>
  /** Resolves with whether this node served it. */
  withdraw(service: string, options?: CallOptions): Promise<boolean>
  /**
   * The nodes that serve the service, as this node knows, sorted by id. Without a service: all nodes whose session started
   * after the recipe was mounted, or that serve something.
   */
  nodes(service?: string): RegistryNode[]
  /**
   * The node of `nodes(service)` to which a key belongs; null if there are none. All nodes with the same list find the
   * same owner. If a node comes or goes, only the keys that it gets or had change their owner.
   */
  owner(key: string, service?: string): RegistryNode | null
  /** Whether a key belongs to this node. */
  owns(key: string, service?: string): boolean
  /** Calls the listener when `nodes(service)` have changed on this node. See `node.watch`. */
  watch(
    service: string | undefined,
    listener: (nodes: RegistryNode[]) => void,
    options?: { signal?: conflux.Signal | undefined }
  ): () => void
}

export interface RegistryNode {
  id: string
  /** The number of its session. */
  session: number
  /** What it serves the service with; undefined without a service. */
  data?: unknown
}

/** Read it by a client: its shape may change. */
export interface RegistryState {
  readonly recipe: 'registry/1'
  readonly live: Readonly<Record<string, string>>
  readonly services: Readonly<Record<string, unknown>>
}

/** Called by the client. */
export type RegistryMethods = {
  serve(
    service: string,
    data: any
  ): { type: 'SERVED'; id: string; session: number; service: string; data: any }
  withdraw(service: string): { type: 'WITHDRAWN'; session: number; service: string } | null
}

/**
 * Runs that happen once in a fleet: every process asks for a run, and the first one gets it. Its client is a
 * `RunCoordinator` of node-cron 4:
 *
 * @example
 * ```js
 * const coordinator = jobs.client(node, 'jobs')
 * cron.schedule('0 3 * * *', backup, { name: 'backup', distributed: true, runCoordinator: coordinator })
 * ```
 *
 * A run is not repeated if its process dies. For work that must not be missed, use a replicated timer and a state that
 * says what is done (docs/coordination.md).
 */
export function jobs(): Recipe<JobsState, JobsMethods>

export namespace jobs {
  /** See `locks.client`. */
  function client<Key extends string>(node: NodeWith<Key, JobsState>, key: Key): Jobs
}

export interface Jobs {
  /**
   * For node-cron: resolves with whether this process is to run it. A run is `name:time` with a time of `toISOString`; once it was
   * given to a process, neither it nor an earlier run of the same name is given to another, however late that asks. Any
   * other text is a run that may happen again after `ttl` milliseconds.
   *
   * @throws {PerformError} what `node.perform` rejects with; node-cron then skips the run.
   */
  shouldRun(run: string, ttl: number): Promise<boolean>
  /** For node-cron: the run is over. */
  onComplete(run: string): Promise<void>
  /**
   * Calls the function if no process has the run, and resolves with its result. What the function throws, it rejects
   * with; the run counts as done.
   *
   * @param options.ttl for a run without a time: milliseconds. Default: a day.
   */
  runOnce<Result>(run: string, task: () => Result | PromiseLike<Result>): Promise<RunOutcome<Result>>
  runOnce<Result>(
    run: string,
    options: (CallOptions & { ttl?: number | undefined }) | null | undefined,
    task: () => Result | PromiseLike<Result>
  ): Promise<RunOutcome<Result>>
  /** The latest run of each job, as this node knows, sorted by job. */
  list(): JobRun[]
}

export type RunOutcome<Result> = { ran: true; result: Result } | { ran: false; result: undefined }

export interface JobRun {
  job: string
  /** The time in the name of the run; null if there is none. */
  slot: string | null
  /** The id of the node that ran it. */
  id: string
  /** By the cluster's clock, in milliseconds. */
  startedAt: number
  /** Null while it runs, and if its process died. */
  completedAt: number | null
}

/** Read it by a client: its shape may change. */
export interface JobsState {
  readonly recipe: 'jobs/1'
  readonly jobs: Readonly<Record<string, unknown>>
}

/** Called by the client. */
export type JobsMethods = {
  claim(
    run: string,
    ttl: number,
    id: string
  ): { type: 'CLAIMED'; job: string; slot: string | null; id: string; at: number } | null
  complete(run: string): { type: 'COMPLETED'; job: string; slot: string | null; at: number } | null
}

/**
 * Limits by key, with the package rate-limiter-flexible 11: points are counted in the replicated state, and expire by the
 * cluster's clock.
 *
 * @example
 * ```js
 * const limiter = rateLimiter.client(node, 'limits', { points: 5, duration: 1 })
 * await limiter.consume(request.ip)
 * ```
 */
export function rateLimiter(): Recipe<RateLimiterState, RateLimiterMethods>

export namespace rateLimiter {
  /**
   * @param options those of the package for all its stores, without `storeClient`.
   * @returns a `RateLimiterStoreAbstract` of the package, which its wrappers take too.
   * @throws `ERR_CONFLUX_INVALID_OPTIONS`: the package is not installed (`npm install rate-limiter-flexible@11`).
   */
  function client<Key extends string>(
    node: NodeWith<Key, RateLimiterState>,
    key: Key,
    options?: RateLimiterOptions
  ): RateLimiter
}

/** The options of the package's stores: see its documentation. */
export interface RateLimiterOptions {
  keyPrefix?: string
  points?: number
  /** Seconds. */
  duration?: number
  execEvenly?: boolean
  execEvenlyMinDelayMs?: number
  blockDuration?: number
  inMemoryBlockOnConsumed?: number
  inMemoryBlockDuration?: number
  insuranceLimiter?: unknown
  [option: string]: unknown
}

/** The functions of the package's limiters: see its documentation. */
export interface RateLimiter {
  readonly keyPrefix: string
  points: number
  duration: number
  blockDuration: number
  execEvenly: boolean
  consume(key: string | number, points?: number, options?: Record<string, any>): Promise<RateLimiterResult>
  penalty(key: string | number, points?: number, options?: Record<string, any>): Promise<RateLimiterResult>
  reward(key: string | number, points?: number, options?: Record<string, any>): Promise<RateLimiterResult>
  get(key: string | number, options?: Record<string, any>): Promise<RateLimiterResult | null>
  set(
    key: string | number,
    points: number,
    seconds: number,
    options?: Record<string, any>
  ): Promise<RateLimiterResult>
  block(key: string | number, seconds: number, options?: Record<string, any>): Promise<RateLimiterResult>
  delete(key: string | number, options?: Record<string, any>): Promise<boolean>
}

/** What `consume` resolves with, and rejects with where the points do not suffice. */
export interface RateLimiterResult {
  readonly msBeforeNext: number
  readonly remainingPoints: number
  readonly consumedPoints: number
  readonly isFirstInDuration: boolean
  toString(): string
  toJSON(): {
    remainingPoints: number
    msBeforeNext: number
    consumedPoints: number
    isFirstInDuration: boolean
  }
}

/** Read it by a client: its shape may change. */
export interface RateLimiterState {
  readonly recipe: 'rateLimiter/1'
  readonly points: Readonly<Record<string, unknown>>
}

/** Called by the client. */
export type RateLimiterMethods = {
  add(
    key: string,
    points: number,
    duration: number,
    force: boolean
  ): { type: 'ADDED'; key: string; points: number; expire: number | null; at: number }
  remove(key: string): { type: 'REMOVED'; key: string } | null
}

/**
 * Invalidates caches on all nodes: a call resolves once every live node has forgotten what it names. It needs the option
 * `sessions`: a node whose session ends is not waited for.
 */
export function invalidation(): Recipe<InvalidationState, InvalidationMethods>

export namespace invalidation {
  /**
   * @param apply forgets what the tags name. It is called with the tags of each invalidation in their order, one after the
   *   other, and with null where everything is to be forgotten: this node was restored from a snapshot, or `apply` threw
   *   before. What it throws is an uncaught exception. Without it, this node invalidates caches of other nodes only.
   */
  function client<Key extends string>(
    node: NodeWith<Key, InvalidationState>,
    key: Key,
    apply?: (tags: string[] | null) => unknown
  ): Invalidation
}

export interface Invalidation {
  /** Resolves when other nodes wait for this one. Use the cache from then on. */
  join(): Promise<void>
  /** Other nodes no longer wait for this one. */
  leave(): Promise<void>
  /**
   * Resolves when all nodes that have joined, and whose sessions live, have applied it.
   *
   * @throws `ERR_CONFLUX_TIMEOUT`: `error.nodes` have not; they will unless their sessions end.
   */
  invalidate(tags: string | string[], options?: CallOptions): Promise<void>
}

/** Read it by a client: its shape may change. */
export interface InvalidationState {
  readonly recipe: 'invalidation/1'
  readonly sequence: number
  readonly members: Readonly<Record<string, unknown>>
}

/** Called by the client. */
export type InvalidationMethods = {
  invalidate(tags: string[]): { type: 'INVALIDATED'; tags: string[]; sequence: number }
  applied(sequence: number): { type: 'APPLIED'; id: string; session: number; sequence: number }
  leave(): { type: 'LEFT'; session: number } | null
}
