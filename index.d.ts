/// <reference lib="esnext.disposable" />

/**
 * conflux is Redux for distributed systems: a store that every node of a cluster holds, changed by actions that all
 * nodes reduce in the same order. The order is agreed on by Raft: any minority of the nodes may fail.
 *
 * @example
 * ```js
 * const conflux = require('conflux')
 *
 * const node = conflux({
 *   id: 'a',
 *   clusterSize: 3,
 *   channel: { name: 'redis' },
 *   initialState: [],
 *   methods: { append (thing) { return thing } },
 *   reduce (state, action) { return [...state, action] }
 * })
 * node.subscribe(() => console.log(node.getState()))
 * await node.perform('append', ['foo'])
 * ```
 *
 * @typeParam State the state; inferred from `initialState`, or else from what `reduce` returns. `conflux<State>({ … })`
 * names it, and leaves the methods unchecked: TypeScript infers all type arguments or none. Prefer `initialState`.
 * @typeParam Methods the methods; inferred from the options.
 * @returns an open node, at once. It looks for the others by itself; `node.ready()` waits for that.
 * `require('conflux')` itself throws `ERR_CONFLUX_NO_BINARY` where this platform's native addon is missing or does not
 * load; the message says why, or names the platform, the package that carries the addon, and the command that builds it.
 *
 * @throws `ERR_CONFLUX_INVALID_OPTIONS`: one message with all faults, which are also in `error.faults`.
 * @throws `ERR_CONFLUX_REDUCER`: the reducer threw while making the initial state; `error.cause` is what it threw. Or
 * the initial state is not JSON; `error.path` says where.
 */
declare function conflux<State, Methods extends conflux.AnyMethods = conflux.AnyMethods>(
  options: conflux.OptionsWithInitialState<State, Methods>
): conflux.Node<State, Methods>
declare function conflux<State, Methods extends conflux.AnyMethods = conflux.AnyMethods>(
  options: conflux.OptionsWithoutInitialState<State, Methods>
): conflux.Node<State, Methods>
declare function conflux<State, Methods extends conflux.AnyMethods = conflux.AnyMethods>(
  options: conflux.OptionsOfRedux<State, Methods>
): conflux.Node<State, Methods>
declare function conflux<State, Methods extends conflux.AnyMethods = conflux.AnyMethods>(
  options: conflux.Options<State, Methods>
): conflux.Node<State, Methods>

declare namespace conflux {
  /**
   * Whether a call of a node was rejected with this error and says what became of it (`error.outcome`). Also true for an
   * error of another realm, or of another copy of conflux.
   */
  function isPerformError(error: unknown): error is PerformError

  /**
   * Action creators, by name. A method runs on the leader: it gets the performed arguments as JSON keeps them, and
   * returns an action (JSON), `null` or `undefined` for "nothing to do", or an `Error` (returned or thrown) for "no".
   * It must be synchronous, must not act on a node (`perform`, `close`, `sync`, …), and may run more than once for one
   * perform: its action is applied once.
   *
   * A method that returns a promise, or an action that is not what JSON gives back (a `Date`, a `Map`), is a type error.
   * TypeScript knows the state in a generic method that reads `this.getState()` if its return type is annotated.
   */
  type AnyMethods = Record<string, (...args: any[]) => any>

  /** What a method asks for when it neither refuses nor has nothing to do. */
  type ActionOf<Method> = Method extends (...args: any[]) => infer Returned
    ? Exclude<Returned, null | undefined | void | Error>
    : never

  /** Any action of these methods. */
  type Action<Methods> = ActionOf<Methods[keyof Methods]>

  /** What a call of the method resolves with: its action, or `undefined` if there was nothing to do. */
  type Performed<Method> = Method extends (...args: any[]) => infer Returned
    ? Exclude<Returned, null | undefined | void | Error> | NothingOf<Returned>
    : never

  /** @internal */
  type NothingOf<Returned> = Extract<Returned, null | undefined | void> extends never ? never : undefined

  /** The arguments of `perform`, after the method's name. A method without parameters needs no list. */
  type PerformArguments<Method> = Method extends (...args: infer Args) => unknown
    ? [] extends Args
      ? [args?: Readonly<Args> | null, options?: number | null | PerformOptions]
      : [args: Readonly<Args>, options?: number | null | PerformOptions]
    : never

  /** Names what is wrong with a method, in the text of a type error. */
  interface Refused<Why extends string> {
    readonly __refused: Why
  }

  /** @internal The value as JSON gives it back, or `Refused` where that is not the same. */
  type Json<Value> = 0 extends 1 & Value
    ? any
    : Value extends string | number | boolean | null | undefined | void | Error
      ? Value
      : Value extends bigint | symbol | ((...args: any) => any)
        ? Refused<'JSON has nothing for this value'>
        : Value extends PromiseLike<any>
          ? Refused<'methods must be synchronous'>
          : Value extends { next(...args: any): any; return(...args: any): any }
            ? Refused<'methods must be no generators'>
            : Value extends NotJson
              ? Refused<'JSON makes another value of it'>
              : Value extends object
                ? { [Key in keyof Value]: Json<Value[Key]> }
                : Value

  /** @internal */
  type NotJson =
    | { toJSON(...args: any): any }
    | ReadonlyMap<any, any>
    | ReadonlySet<any>
    | WeakMap<any, any>
    | WeakSet<any>
    | ArrayBuffer
    | ArrayBufferView
    | RegExp

  /** @internal */
  type Checked<Methods extends AnyMethods> = {
    [Name in keyof Methods]: (...args: any[]) => Json<ReturnType<Methods[Name]>>
  }

  /**
   * What `conflux` takes. For a function of your own that passes options on, `OptionsWithInitialState` gives the better
   * types: TypeScript does not infer the parameters of a reducer from a union.
   */
  type Options<State, Methods extends AnyMethods> =
    | OptionsWithInitialState<State, Methods>
    | OptionsWithoutInitialState<State, Methods>
    | OptionsOfRedux<State, Methods>

  interface OptionsWithInitialState<State, Methods extends AnyMethods> extends CommonOptions<State, Methods> {
    /**
     * The state before the first action: a value, or a function that makes one. Like the reducer, it must be the same on
     * all nodes, and at every start of a node with `storage`. With it, `reduce` is called for actions only: it gets a
     * state and an action, never `undefined` or `null` in their place. The value is copied, by JSON, so that your object
     * stays yours; with own `snapshot.serialize` or without `checkState` it is used as it is.
     *
     * @throws `ERR_CONFLUX_INVALID_OPTIONS`: it is not JSON (the message says where), or the function threw
     *   (`error.cause`).
     */
    initialState: State | (() => State)

    /**
     * The next state for an action; it must depend on nothing else, and must not change `state`: a reducer returns a
     * new state, with new objects and arrays where it differs (`{ ...state, items: [...state.items, x] }`). What it
     * returns is frozen, and has to be what JSON gives back (see `checkState`).
     *
     * One that throws while a call is evaluated makes that call reject (`ERR_CONFLUX_REDUCER`), and nothing is
     * logged. One that throws on an action that is already committed marks its node as diverged (see the event
     * `diverged`): the state before that action stays readable, and the other nodes go on.
     */
    reduce(state: NoInfer<State>, action: Action<NoInfer<Methods>>): NoInfer<State>
  }

  /** As in conflux 1.x: the reducer makes the initial state. */
  interface OptionsWithoutInitialState<State, Methods extends AnyMethods> extends CommonOptions<
    State,
    Methods
  > {
    initialState?: undefined

    /**
     * As with `initialState`. Here the reducer is also asked for the initial state: `reduce(undefined, null)`. If that
     * throws (Redux reducers read `action.type`), it is `reduce(undefined, { type: '@@conflux/INIT' })`.
     */
    reduce(state: State | undefined, action: Action<NoInfer<Methods>> | null): State
  }

  /** The reducer is one of Redux: it reads `action.type` without looking whether there is an action. */
  interface OptionsOfRedux<State, Methods extends AnyMethods> extends CommonOptions<State, Methods> {
    initialState?: undefined
    /** As above. */
    reduce(state: State | undefined, action: Action<NoInfer<Methods>>): State
  }

  interface CommonOptions<State, Methods extends AnyMethods> {
    /** The node's name: a non-empty string of at most 256 bytes, different for every node of the cluster. */
    id: string

    /**
     * How many nodes found the cluster, and vote: an integer from 1 to 99, the same on every node. More nodes may be
     * there: they receive everything, perform and are read like any other, and take the place of a voter that is gone.
     * To change it while the cluster lives, see `node.resize`.
     */
    clusterSize: number

    /** How the nodes reach each other. */
    channel: MemoryChannel | RedisChannel

    /**
     * Action creators, by name; only own functions count. In them `this` is the leader's node.
     *
     * Write them before `reduce`: TypeScript reads options in their order. Where methods that use `this` come after it,
     * the action is `any`, and `perform` is not checked.
     */
    methods: Methods & Checked<Methods> & ThisType<Node<State, any>>

    /**
     * How long a node hears nothing from a leader before it stands for election: drawn from this range, in
     * milliseconds. Default: `{ min: 300, max: 500 }`.
     */
    electionTimeout?: { min: number; max: number } | undefined

    /**
     * How often a leader is heard when it has nothing to say, in milliseconds; less than `electionTimeout.min`.
     * Default: 50.
     */
    heartbeatInterval?: number | undefined

    /**
     * How many calls of this node may be pending at once; more are refused (`ERR_CONFLUX_BUSY`), as is what makes
     * their arguments longer than 64 Mi characters of JSON together. Default: 100000.
     */
    maxPending?: number | undefined

    /**
     * Keeps the node's log, votes and snapshots in a directory, which is made if it is not there: a node started again
     * with it comes back as the same member with everything it knew, also after a power failure of all nodes at once.
     * One process at a time, and one node, may have the directory open.
     *
     * Default: none. Then a node remembers nothing of what it was before: started again it is a new member, which gets
     * everything from the others. What a cluster knows is lost when half of its voters or more end without `close` at
     * about the same time; when all end, it is gone.
     */
    storage?:
      | {
          /** Of the directory, relative to the working directory at the start. */
          path: string
        }
      | undefined

    /** When the log is cut, and how the state is kept instead. */
    snapshot?: SnapshotOptions<NoInfer<State>> | undefined

    /**
     * Names the code of reducer and methods: any string of at most 256 bytes that changes when they do. States are
     * compared among nodes of one version only (`compareStates`), and a method that the leader lacks waits for a leader
     * that has it. `status()` shows the version of each member. Default: the empty string.
     */
    version?: string | undefined

    /**
     * Names the application: any string of 1 to 256 bytes, the same on all nodes. Nodes of another application that use
     * the same channel by mistake are refused: theirs fail with `ERR_CONFLUX_OTHER_APPLICATION`.
     *
     * Default: none. Then, and where one of two nodes has none, the names of the methods decide: nodes that have none in
     * common are of two applications. A node without methods goes with all.
     */
    application?: string | undefined

    /**
     * Compares the states of all nodes of one version now and then, at most once a second and for at most 1 % of
     * JavaScript's time: a node whose state differs from that of most others has diverged (see the event `diverged`).
     * It counts on the leader; a state that JSON cannot carry is not compared. Default: true.
     */
    compareStates?: boolean | undefined

    /**
     * Protects the state against changes in place, and verifies that JSON gives back what an action puts into it.
     *
     * Every part of a state is frozen, an initial state too: strict-mode code that writes to one throws. An action whose
     * reducer changes the state in place, or puts a `Date`, a `Map`, `NaN` or the like into it, rejects with
     * `ERR_CONFLUX_REDUCER`, `outcome: 'refused'`; the message and `error.path` say where (`state.items[3]`). So does a
     * call whose method changes `getState()` or `getProvisionalState()` in place. Where it happens to an action that is
     * already committed, the node has diverged (see the event `diverged`).
     *
     * Sloppy-mode code, where a write to a frozen object is ignored in silence, is noticed as well while the node is not
     * under full load; then a part of the actions is looked at. `docs/operations.md` tells which.
     *
     * With own `snapshot.serialize` the state may hold anything; its plain objects and arrays are still frozen, the rest
     * is not protected.
     *
     * `false` trusts the reducer and the callers: one that changes the state in place exposes and keeps what was refused
     * or never committed, doubles what was acknowledged, and makes nodes differ; a state that is not JSON is noticed at
     * the first snapshot, and the log grows from there on. Set it alike on all nodes. Default: true.
     */
    checkState?: boolean | undefined

    /**
     * Whether every call notes its caller's stack, so that whatever it is rejected with shows it. Default: where an `async`
     * function awaits the call, its frames are found without that; else, for a callback or `.catch`, they are noted as
     * long as that takes less than 0.1 % of the time. `true` notes them always, at some microseconds a call; `false`
     * never, and errors show no caller.
     */
    captureStacks?: boolean | undefined

    /**
     * What happens when half of the voters or more are gone for good, so that nothing can be committed any more.
     *
     * - `'wait'`: the others wait for them, or for `node.recover`.
     * - `{ recoverAfter }`: after so many milliseconds without a quorum the nodes that are left do what `node.recover`
     *   does, by themselves; actions that only the missing ones knew are lost, also acknowledged ones. The warning
     *   `WARN_CONFLUX_RECOVERED` says so. At least 10 times `electionTimeout.max`, at most 2147483647; only time in which
     *   the channel works counts. This trades safety for availability: voters that were only frozen or cut off may have
     *   acknowledged actions meanwhile. When they are back, the recovered cluster wins, and those actions are lost
     *   (`WARN_CONFLUX_SUPERSEDED`).
     *
     * Default: `'wait'`.
     */
    quorumLoss?: 'wait' | { recoverAfter: number } | undefined

    /** @deprecated An option of conflux 1.x: accepted and ignored. */
    accelerateHeartbeats?: boolean | undefined
  }

  /**
   * A snapshot is taken when one of the thresholds is reached, and not sooner than after 100 times what the last one
   * took: it blocks JavaScript for some 10 ms a MiB of state.
   *
   * The state is kept as JSON. Before, it is checked that JSON gives it back: a `Map`, a `Date`, a class instance, `NaN`,
   * `undefined` in an array, a cycle, more than 1000 levels of nesting make the warning `WARN_CONFLUX_SNAPSHOT_FAILED`,
   * which names the place; then nothing is cut, and those who join are sent the whole log. Two shades are not
   * minded: `-0` becomes 0, and a property that is `undefined` is gone. `serialize` and `deserialize` are the way out.
   */
  type SnapshotOptions<State> = {
    /** So many actions in the log since the last snapshot; an integer from 1. Default: 10000. */
    entries?: number | undefined
    /** So many bytes of actions in the log since the last snapshot; an integer from 1. Default: 16777216 (16 MiB). */
    bytes?: number | undefined
  } & (
    | {
        /**
         * What is kept of a state, as a value that JSON gives back. It must depend on nothing but the state, must not
         * change it, and give equal values for equal states on every node: that is what `compareStates` compares.
         */
        serialize: (state: State) => unknown
        /** The state, from what JSON gives back of what `serialize` returned. */
        deserialize: (value: any) => State
      }
    | { serialize?: undefined; deserialize?: undefined }
  )

  /** Between nodes of one process, its worker threads included. */
  interface MemoryChannel {
    name: 'memory'
    /** Nodes of the same name meet. Default: `conflux`. */
    channelName?: string | undefined
  }

  /** Over the publish/subscribe of a Redis server, which keeps nothing but a marker that a cluster runs, for seconds. */
  interface RedisChannel {
    name: 'redis'
    /** Nodes of the same name, server and `db` meet. Default: `conflux`. */
    channelName?: string | undefined
    /**
     * `redis://[[username]:password@]host[:port][/db]`, `rediss://…` for TLS (with `#insecure` at its end: without
     * checking the server's certificate), or `unix:///path/of/socket`; instead of the fields below but `tls`.
     * Default: `redis://127.0.0.1:6379`.
     */
    connectionString?: string | undefined
    /** Default: `127.0.0.1`. */
    host?: string | undefined
    /** Default: 6379. */
    port?: number | undefined
    username?: string | (() => string | Promise<string>) | undefined
    /**
     * A function is called for every connect, for passwords that rotate and tokens that expire. If it fails, the channel is
     * broken with that cause, and it is called again.
     */
    password?: string | (() => string | Promise<string>) | undefined
    /** Nodes of another db are not heard. Default: 0. */
    db?: number | undefined
    /**
     * Connect by TLS. As texts in PEM: `ca` are the certificates to trust instead of those that Node trusts, `cert`
     * and `key` this client's own. Default: false, or what the connection string says.
     */
    tls?:
      boolean | { ca?: string | undefined; cert?: string | undefined; key?: string | undefined } | undefined
  }

  /** An open node. All its functions are bound: `const { perform, getState } = node` works. */
  interface Node<State = unknown, Methods extends AnyMethods = AnyMethods> {
    /**
     * Runs `methods[method]` on the leader; resolves once its action is committed and reduced here: `getState()`
     * read right after already contains it. Calls of one node are evaluated in the order of their calls. Without
     * a leader they wait.
     *
     * @param args what the method is called with, as JSON keeps it: at most 1 MiB as text, nested at most 64 deep. What
     *   JSON would silently lose (a `Map`, a `Set`, a typed array, `NaN`, a function, a symbol) is refused, as in actions:
     *   `ERR_CONFLUX_NOT_JSON`, `error.path` says where. `toJSON` says what is kept, and `undefined` is as good as absent.
     * @param options `{ timeout, signal }`, or a timeout alone: milliseconds, from 0 to 2147483647; default (also `null`
     *   and -1): no limit.
     * @returns the action, a copy of this call's own; or `undefined` if the method returned nothing.
     * @throws {PerformError} the method's own error, `outcome: 'refused'`: its message and its own JSON-able data,
     *   `code` among them (else `ERR_CONFLUX_REFUSED`). Nothing was logged. If all of it has more than 64 KiB as JSON, only
     *   the code and the first 8192 characters of the message are kept.
     * @throws {PerformError} `ERR_CONFLUX_UNKNOWN_METHOD`, `ERR_CONFLUX_ASYNC_METHOD`, `ERR_CONFLUX_REDUCER`,
     *   `ERR_CONFLUX_NOT_JSON`, `ERR_CONFLUX_TOO_LARGE`, `ERR_CONFLUX_TOO_DEEP`, `outcome: 'refused'`: the method or
     *   its action can't be; nothing was logged. While members of several versions are there, a method that the leader
     *   lacks waits for a leader that has it.
     * @throws {PerformError} `ERR_CONFLUX_INVALID_ARGUMENT`, `ERR_CONFLUX_NOT_JSON`, `ERR_CONFLUX_TOO_LARGE`,
     *   `ERR_CONFLUX_TOO_DEEP`, `outcome: 'not-applied'`: this call can't be.
     * @throws {PerformError} `ERR_CONFLUX_NOT_STARTED`, `outcome: 'not-applied'`: something threw before the call began,
     *   the end of the stack or a getter of an option; `error.cause` is it. Likewise for every call with a promise.
     * @throws {PerformError} `ERR_CONFLUX_BUSY`, `outcome: 'not-applied'`: too much is pending; try again later.
     * @throws {PerformError} `ERR_CONFLUX_TIMEOUT`, `outcome: 'unknown'`: it may still be committed. Its message, and
     *   `error.waitingFor`, say what this node waits for, if it does (else null).
     * @throws {PerformError} an `AbortError` (`ABORT_ERR`) whose `cause` is the signal's reason: `'not-applied'` if the call
     *   had not been sent (the signal was aborted before, or in the same turn of the event loop), else `'unknown'`.
     * @throws {PerformError} `ERR_CONFLUX_CLOSED`, `'not-applied'` or, if it was on its way, `'unknown'`.
     * @throws {PerformError} the code of a failure of this node (see the event `error`), likewise.
     * @throws {PerformError} `ERR_CONFLUX_DIVERGED`, likewise: this node has diverged (see the event `diverged`). A
     * call whose
     *   action is committed, but not in the state of this node, ends so, too: `'unknown'`.
     * @throws {PerformError} `ERR_CONFLUX_REMOVED`, `outcome: 'unknown'`: this node is no member any more meanwhile.
     * @throws {PerformError} `ERR_CONFLUX_FORGOTTEN`, `outcome: 'unknown'`: this node was away for so long that the
     *   others no longer remember what became of it.
     * @throws `ERR_CONFLUX_REENTRANT`, at once instead of by the promise: called inside a method or reducer, of this node or
     *   of another one in the process.
     */
    perform<Name extends keyof Methods & string>(
      method: Name,
      ...rest: PerformArguments<Methods[Name]>
    ): Promise<Performed<Methods[Name]>>

    /** The same with a callback, in its caller's async context. What the callback throws is an uncaught exception. */
    perform<Name extends keyof Methods & string>(
      method: Name,
      args: Readonly<Parameters<Methods[Name]>>,
      callback: Callback<Performed<Methods[Name]>>
    ): void
    perform<Name extends keyof Methods & string>(
      method: Name,
      args: Readonly<Parameters<Methods[Name]>>,
      options: number | null | undefined | PerformOptions,
      callback: Callback<Performed<Methods[Name]>>
    ): void

    /**
     * Calls `listener` after every committed action, and once after a snapshot that brought many. What it throws stops
     * neither the other listeners nor the node: it is an uncaught exception once all have run. On a node with `storage`
     * none is called before the log is replayed, then each once.
     *
     * @returns `unsubscribe`, which ends this registration only, at once, also inside a listener; calling it again
     *   does nothing.
     * @throws {TypeError} `ERR_CONFLUX_INVALID_ARGUMENT`: not a function.
     * @throws `ERR_CONFLUX_CLOSED`, or the code of the failure: this node has ended.
     */
    subscribe(listener: () => void): () => void

    /**
     * Calls `listener` when what `selector` makes of the state has changed: after the action, as `subscribe` does, and
     * before the call resolves. Thousands of watchers are fine: together they take at most 4 % of the time, and where
     * that is not enough, they run a little later, once for all changes until then.
     *
     * What one of the functions throws is an uncaught exception once all have run. On a node with `storage` that is not
     * replayed yet, the value before is `undefined`.
     *
     * @param selector the part that counts; called at once, and after changes. It must not take long.
     * @param options.equals whether two values are the same; default: `Object.is`.
     * @param options.signal ends it.
     * @returns `unwatch`, which ends it at once, also inside a listener; calling it again does nothing.
     * @throws {TypeError} `ERR_CONFLUX_INVALID_ARGUMENT`: an argument or option is wrong.
     * @throws `ERR_CONFLUX_CLOSED`, or the code of the failure: this node has ended.
     */
    watch<Value>(
      selector: (state: State) => Value,
      listener: (value: NoInfer<Value>, previous: NoInfer<Value>) => void,
      options?: WatchOptions<NoInfer<Value>>
    ): () => void

    /**
     * The committed state on this node; the same reference until the next action. It stays after the end. Another node
     * may be ahead: `await node.sync()` before makes it current.
     *
     * @throws `ERR_CONFLUX_NOT_READY`: this node has a `storage`, and its log is not replayed yet; `ready()` waits for
     *   that. A node without one never throws.
     */
    getState(): State

    /**
     * On the leader, the committed state with all uncommitted actions on top: in a method, exactly what its action
     * will be applied to if the leader stays. On other nodes, the committed state.
     *
     * @throws `ERR_CONFLUX_NOT_READY`, as `getState`.
     */
    getProvisionalState(): State

    /**
     * Resolves when this node has reduced everything that was committed before the call, on whatever node: `getState()`
     * read after it is linearizable.
     *
     * @param options.timeout milliseconds, from 0 to 2147483647; default: 10000.
     * @throws `ERR_CONFLUX_NO_QUORUM`: within the time no majority of the voters confirmed what is current. Its message
     *   says why; `error.waitingFor` is what this node waits for, or null. Likewise below.
     * @throws `ERR_CONFLUX_DIVERGED`: this node has diverged (see the event `diverged`).
     * @throws `ERR_CONFLUX_BUSY`: `maxPending` such calls wait already.
     * @throws `ERR_CONFLUX_INVALID_ARGUMENT`: nothing was asked. Likewise below.
     * @throws `ERR_CONFLUX_CLOSED`, or the code of the failure: this node has ended. Likewise below.
     * @throws `ERR_CONFLUX_REENTRANT`, at once: called inside a method or reducer. Likewise below.
     */
    sync(options?: AskOptions): Promise<void>

    /**
     * Makes another voter the leader: the one with this id, or the one best suited. Resolves when it leads, at once if it
     * does already. Any node may be asked; performs go on.
     *
     * @throws `ERR_CONFLUX_UNKNOWN_MEMBER`: no member has this id.
     * @throws `ERR_CONFLUX_NOT_A_VOTER`: it is a learner, or is being removed.
     * @throws `ERR_CONFLUX_NO_QUORUM`: it did not come about within the time.
     */
    transferLeadership(options?: AskOptions): Promise<void>
    transferLeadership(id: string | null | undefined, options?: AskOptions): Promise<void>

    /**
     * Takes its vote from the member with this id, whether it lives or not. A living one is told, and comes back as a
     * new member: to be rid of it, end its process. Any node may be asked.
     *
     * @throws `ERR_CONFLUX_UNKNOWN_MEMBER`: no member has this id.
     * @throws `ERR_CONFLUX_LAST_VOTER`: it is the only voter.
     * @throws `ERR_CONFLUX_NO_QUORUM`: it did not come about within the time.
     */
    remove(id: string, options?: AskOptions): Promise<void>

    /**
     * Gives the cluster another size, from 1 to 99: learners become voters, or voters learners, one after the other.
     * Resolves when the size is agreed on, which may be before there are so many voters. From then on a node that joins
     * must be started with this `clusterSize`; those that are members need not be started again.
     *
     * @throws `ERR_CONFLUX_NO_QUORUM`: it did not come about within the time.
     */
    resize(clusterSize: number, options?: AskOptions): Promise<void>

    /**
     * For when half of the voters or more are gone for good: founds the cluster anew from the nodes that are left,
     * with the log of the one that knows most. What only the missing ones knew is lost, also what was acknowledged; the
     * warning `WARN_CONFLUX_RECOVERED` says who they were. One of them that lives after all joins the new cluster, and
     * what only it knew is lost as well (`WARN_CONFLUX_SUPERSEDED`). Resolves when this node is in a cluster that has a
     * leader. If the node on which the others agreed dies meanwhile, call it again 10 election timeouts later.
     *
     * @throws `ERR_CONFLUX_INVALID_ARGUMENT`: without `iUnderstandThatActionsMayBeLost: true`.
     * @throws `ERR_CONFLUX_QUORUM_NOT_LOST`: enough voters are there, or not missing for long enough.
     * @throws `ERR_CONFLUX_NO_QUORUM`: it did not come about within the time.
     */
    recover(options: { iUnderstandThatActionsMayBeLost: true } & AskOptions): Promise<void>

    /**
     * Ends the node and releases everything, so that the process can exit. Once it is called, no listener of `subscribe`
     * and no event but `error` and `close` is called. A leader hands over before. What is pending is committed if there
     * is time, else rejected with `ERR_CONFLUX_CLOSED`. Calling it again changes nothing, and gives the same promise.
     *
     * @param options.timeout how long it may take at most, in milliseconds, from 0 to 2147483647; default: 2000. Where a
     *   log that is still read, a disk or a server holds it up, it ends a quarter of a second later all the same; the
     *   directory of a `storage` is free once the disk has answered.
     * @param options.leave true: the node gives up its membership, to a learner if there is one. false: it stays a
     * member,
     *   because it will come back with its storage; until then it counts as a voter that is missing. Default: true
     *   without `storage`, false with one.
     * @throws {TypeError} `ERR_CONFLUX_INVALID_ARGUMENT`, at once: nothing is closed.
     * @throws `ERR_CONFLUX_REENTRANT`, at once: called inside a method or reducer.
     */
    close(options?: CloseOptions | null): Promise<void>
    close(callback: (error: null) => void): void
    close(options: CloseOptions | null | undefined, callback: (error: null) => void): void

    /** The node as it sees itself and others right now. A plain object of its own. */
    status(): Status

    /**
     * Resolves when the node is in a cluster with a leader and has caught up: everything that was committed when this
     * node was admitted, or came back with its `storage`, is in `getState()`.
     *
     * @param options.timeout milliseconds; default: no limit.
     * @param options.signal aborts the call: it rejects with an `AbortError`. Likewise below.
     * @throws `ERR_CONFLUX_TIMEOUT`: its message, and `error.waitingFor`, say what is missing.
     * @throws `ERR_CONFLUX_CLOSED`, or the code of the failure: this node has ended.
     */
    ready(options?: ReadyOptions): Promise<void>

    /**
     * A node is an `EventEmitter` of Node: `events.once(node, 'leader', { signal })` and `events.on` work, too. What a
     * listener throws stops neither the others nor the node: it is an uncaught exception once all have run. Any number of
     * listeners is fine, and an `'error'` without a listener is no exception.
     */
    on<Event extends keyof Events>(event: Event, listener: (...args: Events[Event]) => void): this
    /** Calls `listener` on the next such event. */
    once<Event extends keyof Events>(event: Event, listener: (...args: Events[Event]) => void): this
    /** Ends one registration of `listener`. */
    off<Event extends keyof Events>(event: Event, listener: (...args: Events[Event]) => void): this
    addListener<Event extends keyof Events>(event: Event, listener: (...args: Events[Event]) => void): this
    removeListener<Event extends keyof Events>(event: Event, listener: (...args: Events[Event]) => void): this
    prependListener<Event extends keyof Events>(
      event: Event,
      listener: (...args: Events[Event]) => void
    ): this
    prependOnceListener<Event extends keyof Events>(
      event: Event,
      listener: (...args: Events[Event]) => void
    ): this
    removeAllListeners(event?: keyof Events): this
    listeners(event: keyof Events): Function[]
    rawListeners(event: keyof Events): Function[]
    listenerCount(event: keyof Events, listener?: Function): number
    eventNames(): (keyof Events)[]
    emit<Event extends keyof Events>(event: Event, ...args: Events[Event]): boolean
    setMaxListeners(count: number): this
    getMaxListeners(): number

    /** Keeps the process alive while the node is open, as it does from the start. */
    ref(): this
    /** Lets the process exit while the node is open. */
    unref(): this

    /** `await using node = conflux(…)` closes the node at the end of the block, as `close()` does. */
    [Symbol.asyncDispose](): Promise<void>
  }

  interface PerformOptions {
    /** Milliseconds, from 0 to 2147483647. Default: no limit. */
    timeout?: number | null | undefined
    /** Aborts the call: it rejects with an `AbortError`, whose `outcome` says what became of it. */
    signal?: Signal | null | undefined
  }

  interface ReadyOptions {
    /** Milliseconds, from 0 to 2147483647. Default: no limit. */
    timeout?: number | null | undefined
    /** Aborts the call: it rejects with an `AbortError`. */
    signal?: Signal | null | undefined
  }

  interface AskOptions {
    /** Milliseconds, from 0 to 2147483647. Default: 10000. */
    timeout?: number | null | undefined
    /**
     * Aborts the call: it rejects with an `AbortError`. What was asked of the cluster may still be done then (`outcome:
     * 'unknown'`).
     */
    signal?: Signal | null | undefined
  }

  interface WatchOptions<Value> {
    /** Whether two values are the same. Default: `Object.is`. */
    equals?: ((value: Value, previous: Value) => boolean) | null | undefined
    /** Ends the watch. */
    signal?: Signal | null | undefined
  }

  /** An `AbortSignal`, of whatever library. */
  interface Signal {
    readonly aborted: boolean
    readonly reason?: any
    addEventListener(type: 'abort', listener: () => void, options?: { once?: boolean }): void
    removeEventListener(type: 'abort', listener: () => void): void
  }

  interface CloseOptions {
    timeout?: number | undefined
    leave?: boolean | undefined
  }

  type Callback<Result> = (error: PerformError | null, action?: Result) => void

  /** The events of a node, and what their listeners get. */
  interface Events {
    /** The id of the leader that this node knows, or null. */
    leader: [id: string | null]
    role: [role: Role]
    /** Something recoverable. Where nobody listens, the first of each code goes to `process.emitWarning`. */
    warning: [warning: Warning]
    /**
     * The node has failed, and ends. Emitted only where someone listens; else it is one line on stderr, and
     * `process.exitCode` becomes 1 unless it is set already. Its codes:
     *
     * - `ERR_CONFLUX_RESOURCES`: the system gave no thread for the storage. (No thread or event queue for the first node of
     *   a process: `conflux(options)` throws it.)
     * - `ERR_CONFLUX_DUPLICATE_ID`: another live node of the cluster has this `id`.
     * - `ERR_CONFLUX_OTHER_CLUSTER`: its cluster, without a leader, met another one with a leader.
     * - `ERR_CONFLUX_OTHER_APPLICATION`: the cluster on its channel is of another application.
     * - `ERR_CONFLUX_STORAGE_IN_USE`: another process has the directory of its `storage` open.
     * - `ERR_CONFLUX_STORAGE_COPIED`: its directory is a copy; another process with the same content is the member.
     * - `ERR_CONFLUX_STORAGE_OUTDATED`: its directory is an older copy: the cluster has heard this member with a newer one.
     * - `ERR_CONFLUX_STORAGE_DAMAGED`: what is in the directory is not what was written; the message says what to do.
     *   Nothing was changed.
     * - `ERR_CONFLUX_STORAGE`: the directory cannot be read or written (a full disk, say). Nothing was acknowledged that
     *   is not kept.
     * - `ERR_CONFLUX_PANIC`, `ERR_CONFLUX_INTERNAL`: a bug in conflux.
     */
    error: [error: Error & { code: ErrorCode }]
    /**
     * The node has diverged, `ERR_CONFLUX_DIVERGED`: its state is not to be trusted from `index` on. Either its reducer
     * threw on the committed `action`, or a snapshot could not be read (`cause` is what was thrown); or its state is
     * another than that of most nodes. It stays a member that stores and votes but does not lead, its last good state
     * can be read, and its calls reject with this code. It is restored once by the state of the leader; if it happens
     * again, it stays diverged, and its log is cut behind snapshots of the leader's. Where nobody listens, it is the
     * warning `WARN_CONFLUX_DIVERGED`.
     */
    diverged: [error: DivergedError]
    /** The node has got the state of the leader, and serves again. */
    restored: []
    /** The node has ended, by `close` or by a failure. */
    close: []
  }

  interface DivergedError extends Error {
    code: 'ERR_CONFLUX_DIVERGED'
    /** The state ends before this index of the log. */
    index: number
    /** What the reducer threw on. */
    action?: unknown
    cause?: unknown
  }

  /** The part that a node plays in its term. */
  type Role = 'follower' | 'candidate' | 'leader'

  /** A recoverable fault, or news that an operator wants to see; its facts come as further properties. */
  type Warning =
    /** Fewer nodes than `clusterSize` are there to found a cluster. */
    | { code: 'WARN_CONFLUX_WAITING_FOR_NODES'; message: string; clusterSize: number; heard: string[] }
    /** There is a cluster, and its leader has not let this node in yet. */
    | { code: 'WARN_CONFLUX_WAITING_TO_JOIN'; message: string; cluster: string; clusterSize: number }
    /** A node, or a whole cluster, on the same channel has another `clusterSize`. */
    | {
        code: 'WARN_CONFLUX_OTHER_CLUSTER_SIZE'
        message: string
        id?: string
        cluster?: string
        theirs: number
        ours: number
      }
    /** A node or cluster on the same channel (`who`) is of another application. Both are described. */
    | {
        code: 'WARN_CONFLUX_OTHER_APPLICATION'
        message: string
        who: string
        theirs: string
        ours: string
        channelName: string
      }
    /** The member `id` has other methods and the same `version`: `ours` are those missing there, `theirs` those missing here. */
    | { code: 'WARN_CONFLUX_OTHER_METHODS'; message: string; id: string; ours: string; theirs: string }
    /** This node gave up an attempt, and starts over as a new member. */
    | { code: 'WARN_CONFLUX_STARTING_OVER'; message: string; why: string }
    /**
     * This node founded `cluster` from the initial state, although `ids` belonged to the cluster `former` minutes ago: what
     * that cluster held is lost, if no other node has it.
     */
    | { code: 'WARN_CONFLUX_STATE_LOST'; message: string; cluster: string; former: string; ids: string[] }
    /** Two clusters share one channel. */
    | { code: 'WARN_CONFLUX_TWO_CLUSTERS'; message: string; ours: string; theirs: string }
    /** The channel does not work; it is tried again for ever. */
    | { code: 'WARN_CONFLUX_CHANNEL_BROKEN'; message: string; cause: string }
    /** It still does not work, for another cause. */
    | { code: 'WARN_CONFLUX_CHANNEL_STILL_BROKEN'; message: string; cause: string }
    /** It works again: one for each `WARN_CONFLUX_CHANNEL_BROKEN`. */
    | { code: 'WARN_CONFLUX_CHANNEL_RESTORED'; message: string }
    /** A node on the same channel speaks another version of the protocol. */
    | { code: 'WARN_CONFLUX_OTHER_VERSION'; message: string; theirs: number; ours: number }
    /** The state cannot be kept as JSON; `why` names the place. The log is not cut, and grows. */
    | { code: 'WARN_CONFLUX_SNAPSHOT_FAILED'; message: string; why: string }
    /** Half of the voters or more are missing: nothing can be committed. */
    | { code: 'WARN_CONFLUX_QUORUM_LOST'; message: string; voters: number; missing: string[] }
    /**
     * The storage has not answered a write for so long. A leader gives its leadership to a node whose storage does. The
     * node serves its callers on, and counts for no majority until its storage answers.
     */
    | { code: 'WARN_CONFLUX_STORAGE_SLOW'; message: string; milliseconds: number }
    /** A process that runs with a copy of the directory of the member `id`, or with an older one, is refused. */
    | { code: 'WARN_CONFLUX_STORAGE_COPIED'; message: string; id: string }
    /** The states of nodes of one version differ, and no majority agrees. */
    | { code: 'WARN_CONFLUX_STATES_DIFFER'; message: string; index: number }
    /** Enough of them are back. */
    | { code: 'WARN_CONFLUX_QUORUM_RESTORED'; message: string }
    /** The cluster was founded anew from the log of the node `from`: what only the missing ones knew is lost. */
    | { code: 'WARN_CONFLUX_RECOVERED'; message: string; cluster: string; from: string; missing: string[] }
    /**
     * This node's cluster was recovered without it, and has ended: what it acknowledged after index `kept` may be lost.
     * The node joins `successor`, and keeps its log until it is in.
     */
    | { code: 'WARN_CONFLUX_SUPERSEDED'; message: string; ours: string; successor: string; kept: number }
    /** The cluster that this one was recovered from went on meanwhile; its nodes join this one. */
    | { code: 'WARN_CONFLUX_FORMER_CLUSTER'; message: string; ours: string; former: string; kept: number }
    /** One cluster was recovered twice, and both successors go on. */
    | { code: 'WARN_CONFLUX_TWO_SUCCESSORS'; message: string; ours: string; theirs: string; former: string }
    /** This node gave way to a successor of which no node is heard: `recover` goes on without it. */
    | { code: 'WARN_CONFLUX_SUCCESSOR_SILENT'; message: string; successor: string }
    /** This node has diverged, and nobody listens to the event `diverged`. */
    | { code: 'WARN_CONFLUX_DIVERGED'; message: string; index: number }

  /** The codes of conflux's own errors: stable. */
  type ErrorCode =
    | 'ERR_CONFLUX_ASYNC_METHOD'
    | 'ERR_CONFLUX_BUSY'
    | 'ERR_CONFLUX_CLOSED'
    | 'ERR_CONFLUX_DIVERGED'
    | 'ERR_CONFLUX_DUPLICATE_ID'
    | 'ERR_CONFLUX_FORGOTTEN'
    | 'ERR_CONFLUX_INTERNAL'
    | 'ERR_CONFLUX_INVALID_ARGUMENT'
    | 'ERR_CONFLUX_INVALID_OPTIONS'
    | 'ERR_CONFLUX_LAST_VOTER'
    | 'ERR_CONFLUX_NOT_A_VOTER'
    | 'ERR_CONFLUX_NOT_JSON'
    | 'ERR_CONFLUX_NOT_READY'
    | 'ERR_CONFLUX_NOT_STARTED'
    | 'ERR_CONFLUX_NO_BINARY'
    | 'ERR_CONFLUX_NO_QUORUM'
    | 'ERR_CONFLUX_OTHER_APPLICATION'
    | 'ERR_CONFLUX_OTHER_CLUSTER'
    | 'ERR_CONFLUX_PANIC'
    | 'ERR_CONFLUX_QUORUM_NOT_LOST'
    | 'ERR_CONFLUX_REDUCER'
    | 'ERR_CONFLUX_REENTRANT'
    | 'ERR_CONFLUX_REFUSED'
    | 'ERR_CONFLUX_REMOVED'
    | 'ERR_CONFLUX_RESOURCES'
    | 'ERR_CONFLUX_STORAGE'
    | 'ERR_CONFLUX_STORAGE_COPIED'
    | 'ERR_CONFLUX_STORAGE_DAMAGED'
    | 'ERR_CONFLUX_STORAGE_IN_USE'
    | 'ERR_CONFLUX_STORAGE_OUTDATED'
    | 'ERR_CONFLUX_TIMEOUT'
    | 'ERR_CONFLUX_TOO_DEEP'
    | 'ERR_CONFLUX_TOO_LARGE'
    | 'ERR_CONFLUX_UNKNOWN_MEMBER'
    | 'ERR_CONFLUX_UNKNOWN_METHOD'

  type WarningCode = Warning['code']

  /** Why a call was rejected. `conflux.isPerformError(error)` tells it from anything else. */
  interface PerformError extends Error {
    /** Stable: one of conflux's own, or the method's. */
    code: ErrorCode | (string & {})
    /**
     * - `refused`: the method, or the reducer on its action, said no, or one of them did what it must not do with the
     *   state; nothing was logged.
     * - `not-applied`: it did not happen, and will not.
     * - `unknown`: it may have happened, or may still happen.
     */
    outcome: 'refused' | 'not-applied' | 'unknown'
    /** The facts, and the own data of a method's error. */
    [fact: string]: unknown
  }

  interface Status {
    id: string
    /** Names this start of the node. */
    incarnation: string
    state: 'open' | 'closing' | 'closed' | 'failed'
    /** Why the node failed. */
    failure: { code: ErrorCode; message: string } | null
    /** Why the node has diverged (see the event `diverged`), in words; null if it is not. */
    diverged: string | null
    /** Names the cluster; null before the node is in one. */
    cluster: string | null
    /** How many voters the cluster is to have. */
    clusterSize: number
    role: Role
    /** The id of the leader that this node knows. */
    leader: string | null
    /** Counts the elections. */
    term: number
    /** The last index of the log that is known to be on a quorum. */
    commitIndex: number
    /** The last index whose action is in `getState()`. */
    appliedIndex: number
    lastIndex: number
    /** The last index that is in a snapshot of this node, and no longer in its log; 0 if there is none. */
    snapshotIndex: number
    quorum: {
      /** Too few voters are heard to commit anything. */
      lost: boolean
      /** While it is lost: who is missing, and for how many milliseconds. */
      missing: { id: string; silentMs: number }[]
    }
    /** Sorted by id; empty before the node is in a cluster. */
    members: Member[]
    /** Calls of this node that have not ended. */
    pending: number
    /**
     * What the node waits for, in words, while it is not in a cluster with a leader, or has not caught up with it. Of a
     * snapshot that is on its way to it: `receiving the state: 12.0 of 40.0 MB`.
     */
    waitingFor: string | null
    /** Everything that was committed when this node was admitted or came back is in `getState()`. */
    caughtUp: boolean
  }

  interface Member {
    id: string
    incarnation: string
    /** It counts in quorums; otherwise it only receives. */
    voter: boolean
    /** It was heard within the last election timeout. Only the leader hears everyone. */
    active: boolean
    /** The option `version` of that node; null while this node has not heard it. */
    version: string | null
    /** Up to where its log is known to agree with the leader's; null everywhere but on the leader. */
    matchedIndex: number | null
  }
}

export = conflux
