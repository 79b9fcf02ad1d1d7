/// <reference lib="esnext.disposable" />

/**
 * conflux is Redux for distributed systems: every node of a cluster holds the same store, and all nodes reduce the same
 * actions in the same order. The nodes agree on that order by Raft: any minority of them may fail.
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
 * @returns an open node, synchronously. The node finds the others without your help; `node.ready()` waits for that.
 * `require('conflux')` itself throws `ERR_CONFLUX_NO_BINARY` where this platform's native addon is missing or does
 * not load; the message says why, or names the platform, the package that carries the addon, and the command that
 * builds it.
 *
 * @throws `ERR_CONFLUX_INVALID_OPTIONS`: one message with all faults; `error.faults` lists them.
 * @throws `ERR_CONFLUX_REDUCER`: the reducer threw while making the initial state; `error.cause` is what it threw. Or
 * the initial state is not JSON: `error.path` is the place.
 */
declare function conflux<
  State,
  Methods extends conflux.AnyMethods = conflux.AnyMethods,
  // They keep literals in what the reducer returns, which TypeScript widens otherwise: `{ mode: 'idle' }` to a string.
  Literal extends conflux.Primitive = conflux.Primitive,
  Next extends NoInfer<State> & (Literal | [] | object | { [key: string]: Literal | Next | [] | object }) =
    NoInfer<State> & (Literal | object)
>(options: conflux.OptionsWithInitialState<State, Methods, Next>): conflux.Node<State, Methods>
declare function conflux<State, Methods extends conflux.AnyMethods = conflux.AnyMethods>(
  options: conflux.OptionsWithoutInitialState<State, Methods>
): conflux.Node<State, Methods>
declare function conflux<State, Methods extends conflux.AnyMethods = conflux.AnyMethods>(
  options: conflux.OptionsOfRedux<State, Methods>
): conflux.Node<State, Methods>
declare function conflux<State, Methods extends conflux.AnyMethods = conflux.AnyMethods>(
  options: conflux.GivenOptions<State, Methods>
): conflux.Node<State, Methods>

declare namespace conflux {
  /**
   * Whether this is the rejection of a call of a node, with an `error.outcome`. Also true for an error of another realm,
   * or of another copy of conflux. An ES module may import it by its name: `import conflux, { isPerformError } from
   * 'conflux'`.
   */
  function isPerformError(error: unknown): error is PerformError

  /**
   * Action creators, by name. A method runs on the leader. It receives the arguments of the call as decoded JSON, and
   * returns an action (JSON), or `null` or `undefined` if there is nothing to do; it refuses the call by returning or
   * throwing an `Error`. It must be synchronous, must not call a node (`perform`, `close`, `sync`, …), and may run more
   * than once for one call: its action is applied once.
   *
   * A method that returns a promise, or an action that is not what JSON gives back (a `Date`, a `Map`), is a type error.
   * TypeScript knows the state in a generic method that reads `this.getState()` if its return type is annotated.
   */
  type AnyMethods = Record<string, (...args: any[]) => any>

  /** The actions that a method returns. */
  type ActionOf<Method> = Method extends (...args: any[]) => infer Returned
    ? Exclude<Returned, null | undefined | void | Error>
    : never

  /** Any action of these methods. */
  type Action<Methods> = ActionOf<Methods[keyof Methods]>

  /** The value that a call of the method resolves with: its action, or `undefined` if it returned nothing. */
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

  /** Names the fault of a method in the text of a type error. */
  interface Refused<Why extends string> {
    readonly __refused: Why
  }

  /** @internal The value after encoding and decoding it as JSON, or `Refused` where that differs. */
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
   * The options of `conflux`. For your own function that passes options on, `OptionsWithInitialState` gives better types:
   * TypeScript does not infer the parameters of a reducer from a union.
   */
  type Options<State, Methods extends AnyMethods> =
    | OptionsWithInitialState<State, Methods>
    | OptionsWithoutInitialState<State, Methods>
    | OptionsOfRedux<State, Methods>

  /** @internal `Options`, for inference: without `initialState`, what the reducer returns is the state, else it is not. */
  type GivenOptions<State, Methods extends AnyMethods> =
    | OptionsWithInitialState<State, Methods>
    | (CommonOptions<State, Methods> & {
        initialState?: undefined
        reduce(
          state: State | undefined,
          action: Action<NoInfer<Methods>>
        ): State | Refused<'no reducer returns it'>
      })

  /** @internal */
  type Primitive = string | number | boolean | bigint | null | undefined

  /** `Next` is what the reducer returns. */
  interface OptionsWithInitialState<
    State,
    Methods extends AnyMethods,
    Next = NoInfer<State>
  > extends CommonOptions<State, Methods> {
    /**
     * The state before the first action: a value, or a function that makes one. Like the reducer, it must be the same on
     * all nodes, and at every start of a node with `storage`. With it, `reduce` is called for actions only: it receives
     * a state and an action, never `undefined` or `null` instead. conflux copies the value by JSON, so your own object is
     * not frozen; with your own `snapshot.serialize`, or without `checkState`, it uses the value itself.
     *
     * @throws `ERR_CONFLUX_INVALID_OPTIONS`: the value is not JSON (the message names the place), or the function threw
     *   (`error.cause`).
     */
    initialState: State | (() => State)

    /**
     * Returns the next state for an action. It must depend on nothing else, and must not change `state`: a reducer
     * returns a new state, with new objects and arrays where it differs (`{ ...state, items: [...state.items, x] }`).
     * conflux freezes the returned state, which must survive encoding as JSON (see `checkState`).
     *
     * If the reducer throws while a call is evaluated, that call rejects (`ERR_CONFLUX_REDUCER`), and nothing is logged.
     * If it throws on an action that is already committed, its node diverges (see the event `diverged`): the state before
     * that action stays readable, and the other nodes continue.
     */
    reduce(state: NoInfer<State>, action: Action<NoInfer<Methods>>): Next
  }

  /** As in conflux 1.x: the reducer makes the initial state. */
  interface OptionsWithoutInitialState<State, Methods extends AnyMethods> extends CommonOptions<
    State,
    Methods
  > {
    initialState?: undefined

    /**
     * As with `initialState`. Here the reducer also makes the initial state: `reduce(undefined, null)`. If that throws
     * (Redux reducers read `action.type`), the initial state is `reduce(undefined, { type: '@@conflux/INIT' })`.
     */
    reduce(state: State | undefined, action: Action<NoInfer<Methods>> | null): State
  }

  /** A reducer of Redux: it reads `action.type` without checking that there is an action. */
  interface OptionsOfRedux<State, Methods extends AnyMethods> extends CommonOptions<State, Methods> {
    initialState?: undefined
    /** As above. */
    reduce(state: State | undefined, action: Action<NoInfer<Methods>>): State
  }

  interface CommonOptions<State, Methods extends AnyMethods> {
    /** The node's name: a non-empty string of at most 256 bytes, different for every node of the cluster. */
    id: string

    /**
     * How many nodes found the cluster and vote: an integer from 1 to 99, the same on every node. Further nodes may join:
     * they receive everything, make calls and serve reads like any other node, and replace a voter that is lost.
     * `node.resize` changes the size of a running cluster.
     */
    clusterSize: number

    /**
     * Whether this node may vote. With `false` it never founds a cluster and never becomes a voter, even if a voter
     * is lost: it receives everything, makes calls and serves reads, for example in a short-lived process.
     * `clusterSize` is the same on all nodes; that many nodes that may vote must be running to found the cluster.
     *
     * The cluster remembers the value with which a node was admitted: a node with storage keeps it when it restarts. If
     * it restarts with the other value, it warns (`WARN_CONFLUX_VOTER_IGNORED`); `remove(id)` on another node lets it join
     * again with its option. `recover` may make any survivor a voter. Default: true.
     */
    voter?: boolean | undefined

    /** How the nodes reach each other. */
    channel: LocalChannel | TcpChannel | RedisChannel | MemoryChannel | CustomChannel | SocketIOChannel

    /**
     * Action creators, by name; only own functions count, and an instance of a class without any is refused. In them `this` is the leader's node, with what belongs to an
     * evaluation: see `MethodContext`.
     *
     * Write them before `reduce`: TypeScript reads options in their order. If methods that use `this` come after `reduce`,
     * the action is `any`, and `perform` is not checked.
     */
    methods: Methods & Checked<Methods> & ThisType<MethodContext<State>>

    /**
     * How long a node waits for a message of the leader before it starts an election: drawn from this range, in
     * milliseconds. Default: `{ min: 300, max: 500 }`.
     */
    electionTimeout?: { min: number; max: number } | undefined

    /**
     * The interval of a leader's heartbeats, in milliseconds; less than `electionTimeout.min`.
     * Default: 50.
     */
    heartbeatInterval?: number | undefined

    /**
     * How many calls of this node may be pending at once. Further calls reject (`ERR_CONFLUX_BUSY`), as do calls that
     * would raise the arguments of all pending calls above 64 Mi characters of JSON. Default: 100000.
     */
    maxPending?: number | undefined

    /**
     * Keeps the node's log, votes and snapshots in a directory, which conflux creates if necessary. A node that restarts
     * with it is the same member and has all its data, even after a power failure of all nodes at once. Only one node of
     * one process may have the directory open.
     *
     * Default: none. Then a restarted node is a new member, which receives everything from the others. The state of the
     * cluster can no longer be changed when half of its voters or more end without `close` at about the same time; it is
     * lost when all end.
     */
    storage?:
      | {
          /** The path of the directory, relative to the working directory at the start. */
          path: string
        }
      | undefined

    /** When the log is compacted, and how the state is stored instead. */
    snapshot?: SnapshotOptions<NoInfer<State>> | undefined

    /**
     * Names the code of reducer and methods: any string of at most 256 bytes that changes when they do. conflux compares
     * only the states of nodes of one version (`compareStates`), and a call of a method that the leader lacks waits for
     * a leader that has it. `status()` shows the version of each member. Default: the empty string.
     */
    version?: string | undefined

    /**
     * Names the application: any string of 1 to 256 bytes, the same on all nodes. If nodes of another application use
     * the same channel by mistake, the cluster refuses them: they fail with `ERR_CONFLUX_OTHER_APPLICATION`.
     *
     * Default: none. If one of two nodes has none, the names of the methods decide: nodes without a common method belong
     * to two applications. A node without methods is compatible with all.
     */
    application?: string | undefined

    /**
     * Compares the states of all nodes of one version at intervals, at most once a second and for at most 1 % of
     * JavaScript's time: a node whose state differs from that of most others has diverged (see the event `diverged`). The
     * leader's option decides. A state that JSON cannot carry is not compared. A large state is compared in slices of some
     * milliseconds, except with `checkState: false`. Default: true.
     */
    compareStates?: boolean | undefined

    /**
     * Protects the state against changes in place, and verifies that what an action puts into it survives JSON.
     *
     * Every part of a state is frozen, including the initial state: strict-mode code that writes to one throws. An action
     * whose
     * reducer changes the state in place, or puts a `Date`, a `Map`, `NaN` or the like into it, rejects with
     * `ERR_CONFLUX_REDUCER`, `outcome: 'refused'`; the message and `error.path` name the place (`state.items[3]`). So
     * does a call whose method changes `getState()` or `getProvisionalState()` in place. If it happens with an action
     * that is already committed, the node diverges (see the event `diverged`).
     *
     * In sloppy-mode code a write to a frozen object fails silently. conflux detects it too, for every action unless the
     * node is under full load, and then for a part of the actions; `docs/operations.md` says which.
     *
     * With your own `snapshot.serialize` the state may contain anything; its plain objects and arrays are still frozen,
     * the rest is not protected.
     *
     * `false` trusts the reducer and the callers. Code that changes the state in place then exposes and keeps what was
     * refused or never committed, applies acknowledged actions twice, and makes nodes differ; conflux detects a state that
     * is not JSON at the first snapshot, and the log grows from then on. Use the same value on all nodes. Default: true.
     */
    checkState?: boolean | undefined

    /**
     * Whether every call records its caller's stack, so that a rejection shows it. Default: if an `async` function awaits
     * the call, V8 finds its frames without a record; for a callback or `.catch`, conflux records them as long as that
     * takes less than 0.1 % of the time. `true` always records them, for some microseconds per call; `false` never does,
     * and errors show no caller.
     */
    captureStacks?: boolean | undefined

    /**
     * Where events of the node are logged: `console`, pino, winston, bunyan, or any object with these four functions. Then
     * warnings no longer go to `process.emitWarning`, and a failure no longer to stderr. docs/observability.md lists what
     * is logged. Default: none.
     */
    logger?: Logger | undefined

    /**
     * What happens when half of the voters or more are lost, so that nothing can be committed.
     *
     * - `'wait'`: the other nodes wait for them, or for `node.recover`.
     * - `{ recoverAfter }`: after this many milliseconds without a quorum the surviving nodes do what `node.recover`
     *   does, without an operator. Actions that only the missing nodes had are lost, even acknowledged ones. The
     *   warning `WARN_CONFLUX_RECOVERED` reports it. At least 10 times `electionTimeout.max`, at most 2147483647;
     *   only time in which the channel works counts. This trades safety for availability: voters that were only
     *   frozen or partitioned may have acknowledged actions meanwhile. When they return, the recovered cluster wins,
     *   and those actions are lost (`WARN_CONFLUX_SUPERSEDED`).
     *
     * Default: `'wait'`.
     */
    quorumLoss?: 'wait' | { recoverAfter: number } | undefined

    /**
     * Gives each member a session, so that the log decides which nodes are present (docs/coordination.md). A session
     * starts when a member is admitted, and ends when the member closes, is removed, restarts, or when a majority has
     * not heard it for `timeout` milliseconds: at least 3 times `electionTimeout.max`, at most 3600000; the timeout
     * of the present leader counts. `true` is the default timeout: 2000, or 3 times `electionTimeout.max` if that is
     * longer.
     *
     * The reducer receives a `SessionAction` for each start and end; declare it in the type of your actions. If it throws
     * on one, the warning `WARN_CONFLUX_REDUCER_THREW` reports it, the session starts or ends all the same, and no node
     * reduces that action.
     *
     * Sessions begin when all members have the option, and then stay: a node without it fails with
     * `ERR_CONFLUX_SESSIONS_REQUIRED`. While a member lacks it, the others warn (`WARN_CONFLUX_SESSIONS_WAIT`). Default:
     * none, and the reducer sees no such actions.
     */
    sessions?: boolean | { timeout?: number | undefined } | undefined

    /** @deprecated An option of conflux 1.x: accepted and ignored. */
    accelerateHeartbeats?: boolean | undefined
  }

  /**
   * conflux takes a snapshot when one of the thresholds is reached, but waits at least 100 times as long as the last one
   * took. It is taken in slices of some milliseconds, and blocks JavaScript for longer only with `serialize` or without
   * `checkState`.
   *
   * The snapshot is JSON. conflux first checks that the state survives it: a `Map`, a `Date`, a class instance, `NaN`,
   * `undefined` in an array, a cycle, or more than 1000 levels of nesting cause the warning
   * `WARN_CONFLUX_SNAPSHOT_FAILED`, which names the place; then the log is not compacted, and newcomers receive all of
   * it. Two differences are accepted: `-0` becomes 0, and a property that is `undefined` disappears. `serialize` and
   * `deserialize` support other states.
   */
  type SnapshotOptions<State> = {
    /** Actions in the log since the last snapshot; an integer from 1. Default: 10000. */
    entries?: number | undefined
    /** Bytes of actions in the log since the last snapshot; an integer from 1. Default: 16777216 (16 MiB). */
    bytes?: number | undefined
  } & (
    | {
        /**
         * Returns what is stored of a state, as a value that survives JSON. It must depend only on the state, must not
         * change it, and must give equal values for equal states on every node: `compareStates` compares these values. What
         * it returns must not change afterwards: a large value is encoded in slices.
         */
        serialize: (state: State) => unknown
        /** Returns the state for a value of `serialize` that was encoded and decoded as JSON. */
        deserialize: (value: any) => State
      }
    | { serialize?: undefined; deserialize?: undefined }
  )

  /**
   * What the nodes of a cluster share, so that only they can read and make its frames: at least 16 random bytes as text.
   * A list is a key ring: its first key seals, all of them open. `id` is a name for people, of at most 64 bytes.
   */
  type Secret = string | readonly { id: string; secret: string }[]

  /** Options of every channel. */
  interface CommonChannelOptions {
    /**
     * Encrypts and authenticates every frame. Nodes meet only with the same secret (`WARN_CONFLUX_SECRET_MISMATCH`).
     * Default: none; then every client that reaches the channel can read and forge the messages of nodes. See
     * docs/channels.md and SECURITY.md.
     */
    secret?: Secret | undefined
  }

  /** Between nodes of one process, its worker threads included. */
  interface MemoryChannel extends CommonChannelOptions {
    name: 'memory'
    /** Nodes with the same name find each other. Default: `conflux`. */
    channelName?: string | undefined
  }

  /**
   * Between the processes of one machine and one user (node:cluster, pm2, a command beside a server), over Unix sockets;
   * on Windows over the loopback interface. No server and no port to choose.
   */
  interface LocalChannel extends CommonChannelOptions {
    name: 'local'
    /** Nodes with the same name find each other. Default: `conflux`. */
    channelName?: string | undefined
    /**
     * The directory for the sockets, which only this user may access (mode 0700); conflux creates it. Default: one that is
     * derived from the user and `channelName`, below `/tmp`; on Windows below `%LOCALAPPDATA%`. Processes that do not share
     * `/tmp` (containers, systemd's `PrivateTmp`) need a directory that they share.
     */
    path?: string | undefined
  }

  /**
   * Over TCP connections between the nodes: no server. Each node connects to every peer that it learns of and keeps one
   * connection to each; an address is never an identity, so nodes may change theirs.
   */
  interface TcpChannel extends CommonChannelOptions {
    name: 'tcp'
    /** Nodes with the same name take part in one cluster; others are refused when they connect. Default: `conflux`. */
    channelName?: string | undefined
    /**
     * Where this node accepts connections: `'10.0.0.5:7400'`, `'[::]:7400'`, `'localhost:7400'`, or `':7400'` or `7400` for
     * every IPv4 interface. Port 0 is any free one.
     */
    listen: string | number
    /**
     * `host:port` at which others reach this node, if that is not the address from which it connects to them (containers
     * with published ports, NAT).
     */
    advertise?: string | undefined
    /**
     * `host:port` of other nodes. Any of them that can be reached is enough, since members learn the other addresses from
     * each other; this node's own address may be among them. Every address of a name is tried, and names are resolved
     * again every 2 seconds. A function, called as often, may return such a list or promise one; if it fails, the channel is
     * broken with that cause as long as there is no connection.
     */
    peers: readonly string[] | (() => readonly string[] | Promise<readonly string[]>)
    /**
     * Encrypts the connections by TLS 1.3, and accepts only nodes with a certificate of the same authority. Default:
     * not encrypted, and every process that can connect is accepted, unless there is a `secret`.
     */
    tls?: PeerTls | undefined
  }

  /**
   * Mutual TLS. `cert`, `key` and `ca` are texts in PEM or paths of files. Files are read again for each connection, so
   * that certificates can be replaced; a certificate and a key that do not match are not used. Connections are renewed
   * before a certificate expires. The name that a node was found by does not count, only the certificate.
   */
  interface PeerTls {
    /** This node's certificate, for both server and client authentication, followed by intermediate ones. */
    cert: string
    key: string
    /** The authorities whose certificates are accepted. */
    ca: string
    /**
     * DNS names or URIs: a peer's certificate must have one of them as a subject alternative name. Default: every
     * certificate of the authorities is accepted.
     */
    allow?: readonly string[] | undefined
  }

  /** Over the publish/subscribe of a Redis server, which stores only a marker that a cluster runs, for seconds. */
  interface RedisChannel extends CommonChannelOptions {
    name: 'redis'
    /** Nodes with the same name, server and `db` find each other. Default: `conflux`. */
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
     * A function is called for every connection, for passwords that rotate and tokens that expire. If it fails, the
     * channel is broken with that cause, and conflux calls it again.
     */
    password?: string | (() => string | Promise<string>) | undefined
    /** Nodes that use another db are not found. Default: 0. */
    db?: number | undefined
    /**
     * Connects by TLS. As PEM texts: `ca` are the certificates to trust instead of those that Node trusts, `cert` and
     * `key` are this client's own. Default: false, or what the connection string says.
     */
    tls?: RedisTls | undefined
    /** The same as `connectionString`, as in node-redis. */
    url?: string | undefined
    /** A Unix socket, as in ioredis. */
    path?: string | undefined
    /** The same as `db`, as in node-redis. */
    database?: number | undefined
    /** The server as in node-redis. */
    socket?:
      | {
          host?: string | undefined
          port?: number | undefined
          path?: string | undefined
          tls?: RedisTls | undefined
          ca?: string | undefined
          cert?: string | undefined
          key?: string | undefined
        }
      | undefined
    /** Redis Sentinels, which are asked for the primary on every connect; instead of `host`. Default of `port`: 26379. */
    sentinels?: readonly { host: string; port?: number | undefined }[] | undefined
    /** The same as `sentinels`, as in node-redis. */
    sentinelRootNodes?: readonly { host: string; port?: number | undefined }[] | undefined
    /** The name of the primary in the configuration of the Sentinels (`name` of ioredis and node-redis). Default: `mymaster`. */
    masterName?: string | undefined
    sentinelUsername?: string | undefined
    sentinelPassword?: string | undefined
    /** The Sentinels use TLS, with the certificates of `tls`. Default: false. */
    sentinelTls?: boolean | undefined
    /** Some nodes of a Redis Cluster, which know the others; instead of `host`. Default of `port`: 6379. */
    rootNodes?:
      readonly ({ host: string; port?: number | undefined; url?: undefined } | { url: string })[] | undefined
  }

  type RedisTls = boolean | { ca?: string | undefined; cert?: string | undefined; key?: string | undefined }
  /**
   * Your own channel, over a transport by which your nodes can reach each other. A channel may lose, repeat, delay
   * and reorder frames; it must never alter a frame, nor deliver it to a node that it is not for. A frame has up to 2
   * MiB. Lost frames cost time: a channel should lose them only when something fails. `channelContract` of
   * `conflux/testing` tests all of that; docs/channels.md has an example.
   */
  interface CustomChannel extends CommonChannelOptions {
    name: 'custom'
    /** Names the channel in messages. Which nodes find each other, `join` decides. Default: `conflux`. */
    channelName?: string | undefined
    /**
     * Joins the channel. Called once at the start, again with another `self` whenever the node becomes a new member, after
     * `close` of what it returned before, and again after it has failed. If it throws, or its promise is rejected, the
     * channel is broken with that cause (`WARN_CONFLUX_CHANNEL_BROKEN`), and is tried again after 20 ms to 1 s.
     *
     * @param self this node's name on the channel: an opaque string of letters, digits and hyphens, unique.
     * @param deliver to be called for each frame that arrives for this node, at any time until `close`, even before
     *   `join` returns. It copies the bytes, and throws a `TypeError` (`ERR_CONFLUX_INVALID_ARGUMENT`) for anything
     *   but a `Uint8Array`. Afterwards it does nothing.
     * @param report informs conflux that the channel is broken (an error or a text: the cause), or works again
     *   (`null`); without it, the channel counts as working. While it is broken, silence of other nodes does not
     *   count against them.
     */
    join(
      self: string,
      deliver: (frame: Uint8Array) => void,
      report: (cause: unknown) => void
    ): CustomLink | Promise<CustomLink>
  }

  /**
   * What `join` returns. Its functions must return quickly: they run in the node's event loop. If one throws, or its
   * promise is rejected, the frame is lost; the warning `WARN_CONFLUX_CHANNEL_THREW` reports each place once.
   */
  interface CustomLink {
    /** Sends a frame to the node that has joined as `to`, if there is one. The bytes are yours. */
    send(to: string, frame: Uint8Array): unknown
    /** Sends a frame to all other nodes of the channel: in clusters of four and more, most of what a leader sends. */
    broadcast(frame: Uint8Array): unknown
    /** Leaves the channel. The node waits for its promise for up to half a second. */
    close(): unknown
    /** Until it has resolved, the channel counts as connecting, and nothing is sent. Rejected, `join` has failed. */
    readonly ready?: PromiseLike<unknown> | undefined
  }

  /**
   * Over a server of socket.io, as in conflux 1.x: `enhanceServerForSocketIOChannel` of `conflux/socket.io` makes one. It
   * needs the package socket.io-client 4 (`npm install socket.io-client`): without it, `conflux(options)` throws
   * `ERR_CONFLUX_INVALID_OPTIONS`.
   */
  interface SocketIOChannel extends CommonChannelOptions {
    name: 'socket.io'
    /** The address of the server, without a path: `http://localhost:8000`. */
    host: string
    /** Nodes with the same server and `channel` find each other. Default: `conflux`. */
    channel?: string | undefined
    /** Further options for `io` of socket.io-client, such as `path`, `auth`, `extraHeaders` or `ca`. */
    options?: Record<string, unknown> | undefined
  }

  /** `this` in a method: the leader's node, and beside it what belongs to the evaluation. */
  interface MethodContext<State = unknown> extends Omit<Node<State, any>, 'schedule' | 'unschedule'> {
    /**
     * The time, in milliseconds since 1970, that the action of this call carries (`at` of a commit). Methods that use it
     * instead of `Date.now()` agree on the order of times across leaders: it never falls below the time of an earlier
     * action, whatever the clocks of the machines say. All calls that are evaluated together have one time.
     *
     * It is the wall clock of the leader. If that is more than 20 ms away from the time that the cluster expects, for
     * example after the clock was set, the cluster's time continues, at most 5 % faster or slower, until they meet;
     * beyond a second the leader warns (`WARN_CONFLUX_CLOCK_JUMP`). See docs/coordination.md.
     *
     * @throws `ERR_CONFLUX_NOT_IN_METHOD`: the method has returned. Likewise below.
     */
    now(): number

    /**
     * A number from 0 to below 1. It is drawn from a generator that is seeded with the call: another leader that evaluates
     * the same call draws the same numbers. Not for secrets.
     */
    random(): number

    /**
     * The node that made the call, and its session: null if it has none yet. Only with `sessions`; else reading it throws
     * `ERR_CONFLUX_NO_SESSIONS`, and the call is refused.
     *
     * If the session in which the call was made has ended since, reading it throws `ERR_CONFLUX_SESSION_ENDED` and the
     * call is refused with that, whatever the method returns. A method that does not read it is not affected.
     *
     * @throws `ERR_CONFLUX_NO_CALLER`: a timer runs the method (`this.timer`), and no node called it.
     */
    readonly caller: { readonly id: string; readonly session: number | null }

    /**
     * As `node.schedule`, atomic with the action of this call: both are committed, or neither. A method that returns
     * nothing may set timers, too. If the method refuses or throws, nothing is set. `at` must not lie before `this.now()`.
     *
     * @throws `ERR_CONFLUX_INVALID_ARGUMENT`: the name or an option is wrong; the message says what. Uncaught, it refuses the
     *   call.
     * @throws `ERR_CONFLUX_UNKNOWN_METHOD`: this leader has no such method.
     * @throws `ERR_CONFLUX_TOO_MANY_TIMERS`: there are 200,000 timers, or they take 64 MiB.
     * @throws `ERR_CONFLUX_TOO_LARGE`: the arguments take more than 64 KiB as JSON, or all timers of this call more than
     *   256 KiB.
     */
    schedule(name: string, timer: TimerOptions): void

    /** As `node.unschedule`, atomic with the action of this call. */
    unschedule(name: string): void

    /** The name of the timer that runs this method; undefined in a call. */
    readonly timer: string | undefined

    /**
     * The time for which the timer was set, in milliseconds since 1970; undefined in a call. `this.now()` is not before it.
     */
    readonly scheduledAt: number | undefined
  }

  /** When a timer fires, and what it runs: exactly one of `at`, `every` and `cron` is needed. */
  type TimerOptions = {
    /** The method that the leader runs. What it returns is committed as an action, as that of a call is. */
    method: string
    /** Its arguments: at most 64 KiB as JSON. Default: none. */
    args?: readonly unknown[] | undefined
    /**
     * What happens to times at which no leader could fire, because all nodes were down, the quorum was lost, or the
     * leader's JavaScript was blocked.
     *
     * - `'once'`: the timer fires once for all of them; `this.scheduledAt` is the first.
     * - `'all'`: it fires once for each of them.
     * - `'none'`: times that are more than 5 seconds late are skipped.
     *
     * Default: `'once'`.
     */
    missed?: 'once' | 'all' | 'none' | undefined
  } & (
    | {
        /** Once: a `Date`, a string in ISO 8601, or milliseconds since 1970; not in the past. */
        at: Date | string | number
        every?: undefined
        cron?: undefined
        timeZone?: undefined
      }
    | {
        /** The period in milliseconds, from now on: an integer from 10. Each firing is an entry of the log. */
        every: number
        at?: undefined
        cron?: undefined
        timeZone?: undefined
      }
    | {
        /** At the times of a cron expression of 5 fields, or 6 with seconds first: `'0 9 * * 1-5'`. See croner. */
        cron: string
        /** Of the IANA database, such as `'Europe/Berlin'`. Default: `'UTC'`. */
        timeZone?: string | undefined
        at?: undefined
        every?: undefined
      }
  )

  /** A timer of the cluster. */
  interface Timer {
    name: string
    /** When it fires next, in milliseconds since 1970. */
    due: number
    method: string
    args: unknown[]
    missed: 'once' | 'all' | 'none'
    /** As it was set: one of the three. */
    at?: number
    every?: number
    cron?: string
    timeZone?: string
  }

  /** An open node. All its functions are bound: `const { perform, getState } = node` works. */
  interface Node<State = unknown, Methods extends AnyMethods = AnyMethods> {
    /**
     * Runs `methods[method]` on the leader and resolves once its action is committed and reduced on this node:
     * `getState()` called next contains it. The leader evaluates the calls of one node in their order. Without a leader
     * they wait.
     *
     * @param args the arguments of the method, as JSON: at most 1 MiB of text, at most 64 levels. A value that JSON would
     *   silently lose (a `Map`, a `Set`, a typed array, `NaN`, a function, a symbol) is refused, as in actions:
     *   `ERR_CONFLUX_NOT_JSON`; `error.path` is the place. `toJSON` decides what is kept, and `undefined` counts as absent.
     * @param options `{ timeout, signal }`, or only a timeout: milliseconds, from 0 to 2147483647; default (also `null`
     *   and -1): no limit.
     * @returns the action, as a copy for this call; or `undefined` if the method returned nothing.
     * @throws {PerformError} the method's own error, `outcome: 'refused'`: its message and its own data as JSON, including
     *   `code` (default: `ERR_CONFLUX_REFUSED` for a returned error, `ERR_CONFLUX_METHOD_THREW` for a thrown one, which is
     *   usually a bug: `error.remoteStack` is the stack on the leader). Nothing was logged. Of more than 64 KiB of JSON, only the code and the
     *   first 8192 characters of the message are kept.
     * @throws {PerformError} `ERR_CONFLUX_UNKNOWN_METHOD`, `ERR_CONFLUX_ASYNC_METHOD`, `ERR_CONFLUX_REDUCER`,
     *   `ERR_CONFLUX_NOT_JSON`, `ERR_CONFLUX_TOO_LARGE`, `ERR_CONFLUX_TOO_DEEP`, `outcome: 'refused'`: the method or
     *   its action is invalid; nothing was logged. While there are members of several versions, a call of a method that the
     *   leader lacks waits for a leader that has it.
     * @throws {PerformError} `ERR_CONFLUX_SESSION_ENDED`, `outcome: 'refused'`: the method reads `this.caller`, and the session
     *   of this node in which the call was made has ended. `ERR_CONFLUX_NO_SESSIONS`: likewise, without the option
     *   `sessions`. `ERR_CONFLUX_RESERVED_TYPE`: with it, a method returned a `SessionAction`.
     * @throws {PerformError} `ERR_CONFLUX_INVALID_ARGUMENT`, `ERR_CONFLUX_NOT_JSON`, `ERR_CONFLUX_TOO_LARGE`,
     *   `ERR_CONFLUX_TOO_DEEP`, `outcome: 'not-applied'`: an argument is invalid.
     * @throws {PerformError} `ERR_CONFLUX_NOT_STARTED`, `outcome: 'not-applied'`: an error was thrown before the call
     *   began, for example by a stack overflow or a getter of an option; `error.cause` is that error. Likewise for every
     *   call that returns a promise.
     * @throws {PerformError} `ERR_CONFLUX_BUSY`, `outcome: 'not-applied'`: too many calls are pending; try again later.
     * @throws {PerformError} `ERR_CONFLUX_TIMEOUT`, `outcome: 'unknown'`: the action may still be committed; or
     *   `'not-applied'`: the call was never sent. The message and `error.waitingFor` say what this node is waiting for (null if it is not).
     * @throws {PerformError} an `AbortError` (`ABORT_ERR`) whose `cause` is the signal's reason: `'not-applied'` if the
     *   call had not been sent (the signal was aborted before, or in the same turn of the event loop), else `'unknown'`.
     * @throws {PerformError} `ERR_CONFLUX_CLOSED`, `'not-applied'` or, if the call was in flight, `'unknown'`.
     * @throws {PerformError} the code of a failure of this node (see the event `error`), likewise.
     * @throws {PerformError} `ERR_CONFLUX_DIVERGED`, likewise: this node has diverged (see the event `diverged`). Also if
     *   the action is committed, but not in the state of this node: `'unknown'`.
     * @throws {PerformError} `ERR_CONFLUX_REMOVED`, `outcome: 'unknown'`: this node was removed while the call was in flight.
     * @throws {PerformError} `ERR_CONFLUX_FORGOTTEN`, `outcome: 'unknown'`: this node was away for so long that the
     *   others no longer have the outcome.
     * @throws `ERR_CONFLUX_REENTRANT`, synchronously: called inside a method or reducer of this node or of another one
     *   in the process.
     */
    perform<Name extends keyof Methods & string>(
      method: Name,
      ...rest: PerformArguments<Methods[Name]>
    ): Promise<Performed<Methods[Name]>>

    /** The same with a callback, in its caller's async context. An error of the callback is an uncaught exception. */
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
     * The live sessions, oldest first (docs/coordination.md): in a method, of the state that its action will be applied
     * to; elsewhere, those that this node has applied.
     *
     * @throws `ERR_CONFLUX_NO_SESSIONS`: without the option `sessions`.
     */
    sessions(): readonly Session[]

    /**
     * Calls `run` whenever this node has become the leader and has applied everything that was committed before. Use
     * `signal` to stop when it no longer leads, and pass `token` to the resources that the work changes: a node that
     * was paused may continue to work for a moment while the next leader already works, and only the token
     * distinguishes the two (docs/coordination.md). A run that ends early is not repeated before the next leadership,
     * and the next one begins when the last has ended. An exception or rejection of a run is an uncaught exception,
     * except for an `AbortError` after `signal` is aborted.
     *
     * @returns `stop`: aborts the signal; its promise resolves when the run has ended. `close` aborts it too, and does not
     *   wait for the run.
     * @throws {TypeError} `ERR_CONFLUX_INVALID_ARGUMENT`: not a function.
     * @throws `ERR_CONFLUX_CLOSED`, or the code of the failure: this node has ended.
     */
    whileLeader(run: (leadership: Leadership) => unknown): () => Promise<void>

    /**
     * Sets a timer of the cluster: at its time the leader runs a method, and commits its action. Resolves when the timer is
     * committed and known to this node. Timers are part of the replicated state: they survive the death of leaders, and with
     * `storage` that of all nodes. Each firing is applied exactly once.
     *
     * A timer of the same name is replaced; its firings until then count. `this` in the method has `timer` and
     * `scheduledAt`. If the method returns nothing, refuses or throws, the firing is over all the same, and the timer
     * continues with its next time (`WARN_CONFLUX_TIMER_FAILED`). If a leader lacks the method, the firing waits for
     * one that has it.
     *
     * @param name of the timer: a non-empty string of at most 256 bytes.
     * @throws {PerformError} `ERR_CONFLUX_INVALID_ARGUMENT`, `outcome: 'not-applied'`: the name or an option is
     *   wrong, a cron expression or time zone is invalid, or `at` is in the past; the message says what.
     * @throws {PerformError} `ERR_CONFLUX_UNKNOWN_METHOD`, `ERR_CONFLUX_TOO_MANY_TIMERS` or `ERR_CONFLUX_TOO_LARGE`, as
     *   `this.schedule` in a method, `outcome: 'refused'`; or as `perform`. Likewise below.
     */
    schedule(name: string, timer: TimerOptions, options?: number | null | PerformOptions): Promise<void>

    /** Removes a timer. Resolves when that is committed and known to this node, also if there is no timer of this name. */
    unschedule(name: string, options?: number | null | PerformOptions): Promise<void>

    /**
     * The timers of the cluster, as this node knows them, sorted by name. With many timers it takes time: `status().timers`
     * has their number.
     */
    timers(): Timer[]

    /**
     * Calls `listener` after every committed action, and once after a snapshot that contains many. An error of a listener
     * stops neither the other listeners nor the node: it becomes an uncaught exception once all have run. On a node with
     * `storage` each listener is first called when the log is replayed, once.
     *
     * @param listener receives the action, its index in the log and its time. After a snapshot or the replay action and
     *   time are undefined, and the index is the last one in the state.
     * @param options.signal ends the registration.
     * @returns `unsubscribe`, which ends only this registration, immediately, even inside a listener; calling it again
     *   does nothing.
     * @throws {TypeError} `ERR_CONFLUX_INVALID_ARGUMENT`: not a function, or an option is wrong.
     * @throws `ERR_CONFLUX_CLOSED`, or the code of the failure: this node has ended.
     */
    subscribe(
      listener: (commit: Commit<Action<Methods> | undefined>) => void,
      options?: SubscribeOptions | null
    ): () => void

    /**
     * The committed actions in order, each once, as an async iterator: `for await (const { action, index, at } of
     * node.commits())`. Nothing is queued for a slow reader: it continues in the log of this node, which reaches back
     * to the last snapshot or a little further (`snapshot`). `break`, the signal, and the end of the node end it; the
     * failure of the node is thrown.
     *
     * To continue after an interruption, pass `from: index + 1` of the last commit that was handled. To begin with a
     * state, read `getState()` and `status().appliedIndex` in one turn of the event loop, and continue from
     * `appliedIndex + 1`.
     *
     * @param options.from the first index that counts; default: the commit after `getState()`.
     * @param options.signal ends it: `next()` rejects with an `AbortError`.
     * @throws {TypeError} `ERR_CONFLUX_INVALID_ARGUMENT`, at once: an option is wrong.
     * @throws `ERR_CONFLUX_CLOSED`, or the code of the failure, at once: this node has ended.
     * @throws `ERR_CONFLUX_COMPACTED`, from `next()`: the log does not reach back to the index that comes next;
     *   `error.firstIndex` says where it begins. Read the state instead, as above.
     */
    commits(options?: CommitsOptions | null): AsyncIterableIterator<Commit<Action<Methods>>>

    /**
     * Calls `listener` when the value of `selector` has changed: after the action, as `subscribe` does, and before the call
     * resolves. Thousands of watchers are fine: together they take at most 4 % of the time; beyond that they run a little
     * later, once for all changes until then.
     *
     * An error of one of the functions becomes an uncaught exception once all have run. On a node with `storage` that has
     * not replayed its log, the previous value is `undefined`.
     *
     * @param selector returns the watched part of the state; called immediately, and after changes. It must be fast.
     * @param options.equals whether two values are the same; default: `Object.is`.
     * @param options.signal ends the watch.
     * @returns `unwatch`, which ends the watch immediately, even inside a listener; calling it again does nothing.
     * @throws {TypeError} `ERR_CONFLUX_INVALID_ARGUMENT`: an argument or option is wrong.
     * @throws `ERR_CONFLUX_CLOSED`, or the code of the failure: this node has ended.
     */
    watch<Value>(
      selector: (state: State) => Value,
      listener: (value: NoInfer<Value>, previous: NoInfer<Value>) => void,
      options?: WatchOptions<NoInfer<Value>>
    ): () => void

    /**
     * The committed state on this node; the same reference until the next action. It remains readable after the node has
     * ended. Another node may be ahead: after `await node.sync()` the state is current.
     *
     * @throws `ERR_CONFLUX_NOT_READY`: this node has a `storage` and has not replayed its log; `ready()` waits for that. A
     *   node without storage never throws.
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
     * Resolves when this node has reduced everything that was committed on any node before the call: `getState()` called
     * next is linearizable.
     *
     * @param options.timeout milliseconds, from 0 to 2147483647; default: 10000.
     * @throws `ERR_CONFLUX_NO_QUORUM`: the timeout passed before a majority of the voters had confirmed the leader. The
     *   message says why; `error.waitingFor` is what this node is waiting for, or null. Likewise below.
     * @throws `ERR_CONFLUX_DIVERGED`: this node has diverged (see the event `diverged`).
     * @throws `ERR_CONFLUX_BUSY`: `maxPending` operations are already pending.
     * @throws `ERR_CONFLUX_INVALID_ARGUMENT`: an argument is invalid, and nothing was started. Likewise below.
     * @throws `ERR_CONFLUX_CLOSED`, or the code of the failure: this node has ended. Likewise below.
     * @throws `ERR_CONFLUX_REENTRANT`, synchronously: called inside a method or reducer. Likewise below.
     */
    sync(options?: AskOptions): Promise<void>

    /**
     * Transfers leadership to the voter with this id, or to the most suitable one. Resolves when that voter leads,
     * immediately if it already does. Works on any node; other calls continue.
     *
     * @throws `ERR_CONFLUX_UNKNOWN_MEMBER`: no member has this id.
     * @throws `ERR_CONFLUX_NOT_A_VOTER`: the member is a learner or is being removed.
     * @throws `ERR_CONFLUX_NO_QUORUM`: the operation timed out.
     */
    transferLeadership(options?: AskOptions): Promise<void>
    transferLeadership(id: string | null | undefined, options?: AskOptions): Promise<void>

    /**
     * Replaces `channel.secret` of this node, without a restart. To rotate a secret without a failed call, give all nodes
     * the new key behind the old one, then before it, then alone (docs/channels.md).
     *
     * @throws `ERR_CONFLUX_INVALID_ARGUMENT`: the secret is not one; the message says what is wrong, and never contains it.
     * @throws `ERR_CONFLUX_CLOSED`, or the code of the failure: this node has ended.
     */
    setSecret(secret: Secret): void

    /**
     * Removes the member with this id, whether it is alive or not. A living node is notified and joins again as a new
     * member: end its process first to keep it away. Works on any node.
     *
     * @throws `ERR_CONFLUX_UNKNOWN_MEMBER`: no member has this id.
     * @throws `ERR_CONFLUX_LAST_VOTER`: the member is the only voter.
     * @throws `ERR_CONFLUX_NO_QUORUM`: the operation timed out.
     */
    remove(id: string, options?: AskOptions): Promise<void>

    /**
     * Changes the size of the cluster, from 1 to 99: learners become voters, or voters become learners, one after the
     * other. Resolves when the new size is committed, possibly before there are that many voters. From then on a new node
     * must be started with this `clusterSize`; members need not be restarted.
     *
     * @throws `ERR_CONFLUX_NO_QUORUM`: the operation timed out.
     */
    resize(clusterSize: number, options?: AskOptions): Promise<void>

    /**
     * Recovers the cluster when half of the voters or more are lost: the surviving nodes found it again with the longest
     * log among them. Actions that only the missing nodes had are lost, even acknowledged ones; the warning
     * `WARN_CONFLUX_RECOVERED` names these nodes. If one of them returns, it joins the recovered cluster, and the actions
     * that only it had are lost too (`WARN_CONFLUX_SUPERSEDED`). Resolves when this node is in a cluster with a leader. If
     * the node with the longest log dies meanwhile, call `recover` again 10 election timeouts later.
     *
     * @throws `ERR_CONFLUX_INVALID_ARGUMENT`: without `iUnderstandThatActionsMayBeLost: true`.
     * @throws `ERR_CONFLUX_QUORUM_NOT_LOST`: enough voters are active, or the others are not missing for long enough.
     * @throws `ERR_CONFLUX_NO_QUORUM`: the operation timed out.
     */
    recover(options: { iUnderstandThatActionsMayBeLost: true } & AskOptions): Promise<void>

    /**
     * Ends the node and releases everything, so that the process can exit. After this call, conflux calls no listener of
     * `subscribe` and emits only `error` and `close`. A leader first transfers its leadership. Pending calls are
     * committed if there is time, and otherwise reject with `ERR_CONFLUX_CLOSED`. Calling it again changes nothing and
     * returns the same promise.
     *
     * @param options.timeout the maximal duration in milliseconds, from 0 to 2147483647; default: 2000. If the log is
     *   still being read, or a disk or server does not respond, the node ends a quarter of a second later; the directory
     *   of a `storage` is free once the disk has responded.
     * @param options.leave true: the node gives up its membership, to a learner if there is one. false: it keeps its
     *   vote, because it will return with its storage; until then it counts as a missing voter. Default: true without
     *   `storage`, false with one.
     * @throws {TypeError} `ERR_CONFLUX_INVALID_ARGUMENT`, synchronously: the node stays open.
     * @throws `ERR_CONFLUX_REENTRANT`, synchronously: called inside a method or reducer.
     */
    close(options?: CloseOptions | null): Promise<void>
    close(callback: (error: null) => void): void
    close(options: CloseOptions | null | undefined, callback: (error: null) => void): void

    /** What this node knows about itself and the others at present, as a new plain object. */
    status(): Status

    /** `JSON.stringify(node)` gives the status, and `console.log(node)` shows it. The state is not part of it. */
    toJSON(): Status

    /**
     * Resolves when the node is in a cluster with a leader and has caught up: everything that was committed when this
     * node was admitted, or returned with its `storage`, is in `getState()`.
     *
     * @param options.timeout milliseconds; default: no limit.
     * @param options.signal aborts the call: it rejects with an `AbortError`. Likewise below.
     * @param options.faultTolerance waits also until this many more voters may crash (`status().faultTolerance`): with
     *   1, a rolling deploy may stop the next process. Default: 0.
     * @throws `ERR_CONFLUX_TIMEOUT`: the message and `error.waitingFor` say what is missing.
     * @throws `ERR_CONFLUX_CLOSED`, or the code of the failure: this node has ended.
     */
    ready(options?: ReadyOptions): Promise<void>

    /**
     * A node is an `EventEmitter` of Node: `events.once(node, 'leader', { signal })` and `events.on` work too. An
     * error of a listener stops neither the others nor the node: it becomes an uncaught exception once all have run. Any
     * number of listeners is fine, and an `'error'` event without a listener throws nothing.
     */
    on<Event extends keyof Events>(event: Event, listener: (...args: Events[Event]) => void): this
    /** Calls `listener` for the next event only. */
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

    /** Keeps the process alive while the node is open; the default. */
    ref(): this
    /** Lets the process exit while the node is open. */
    unref(): this

    /** `await using node = conflux(…)` closes the node at the end of the block, as `close()` does. */
    [Symbol.asyncDispose](): Promise<void>
  }

  /** A session, which is live. Its number is never used again, and is above that of each session that started before. */
  interface Session {
    readonly id: string
    readonly session: number
  }

  /**
   * What the reducer receives with `sessions`, in the order of the log. Reasons of a start: it is the first session of the
   * member (`joined`), the member is heard again (`returned`), or its process has restarted with its log. Of an end:
   * the member closes, was removed, was not heard by a majority for the timeout, or has restarted.
   */
  type SessionAction =
    | {
        type: '@@conflux/SESSION_STARTED'
        id: string
        session: number
        reason: 'joined' | 'returned' | 'restarted'
      }
    | {
        type: '@@conflux/SESSION_ENDED'
        id: string
        session: number
        reason: 'closed' | 'removed' | 'silent' | 'restarted'
      }

  interface SessionEvent {
    /** null: this node has no session now. */
    session: number | null
    previous: number | null
    reason: SessionAction['reason']
  }

  /** @internal The `AbortSignal` of the platform, where its types are known. */
  type PlatformSignal = typeof globalThis extends { AbortSignal: { prototype: infer Known } } ? Known : Signal

  /** What `whileLeader` passes to its function. */
  interface Leadership {
    /** Aborted when this node stops leading, closes, or `stop` is called. */
    readonly signal: PlatformSignal
    /** A safe integer, above that of every earlier leadership of this cluster: a fencing token. */
    readonly token: number
  }

  interface PerformOptions {
    /** Milliseconds, from 0 to 2147483647. Default: no limit. */
    timeout?: number | null | undefined
    /** Aborts the call: it rejects with an `AbortError`, with an `outcome`. */
    signal?: Signal | null | undefined
  }

  interface ReadyOptions {
    /** Milliseconds, from 0 to 2147483647. Default: no limit. */
    timeout?: number | null | undefined
    /** Aborts the call: it rejects with an `AbortError`. */
    signal?: Signal | null | undefined
    /** How many more voters must be able to crash. Default: 0. */
    faultTolerance?: number | null | undefined
  }

  interface AskOptions {
    /** Milliseconds, from 0 to 2147483647. Default: 10000. */
    timeout?: number | null | undefined
    /**
     * Aborts the call: it rejects with an `AbortError`. The cluster may still execute the operation (`outcome:
     * 'unknown'`).
     */
    signal?: Signal | null | undefined
  }

  /** An action that all nodes have, or will have, at this place. */
  interface Commit<Action> {
    action: Action
    /** Its place in the log. Indexes grow, and some hold no action. */
    index: number
    /**
     * When the action was evaluated: `this.now()` in its method, in milliseconds since 1970. It never falls from one index
     * to the next. Undefined after a snapshot, and for an action of a version that recorded no time.
     */
    at: number | undefined
  }

  interface CommitsOptions {
    /** The first index that counts. Default: the one after what `getState()` holds. */
    from?: number | null | undefined
    /** Ends the iteration: `next()` rejects with an `AbortError`. */
    signal?: Signal | null | undefined
  }

  interface SubscribeOptions {
    /** Ends the registration. */
    signal?: Signal | null | undefined
  }

  interface WatchOptions<Value> {
    /** Whether two values are the same. Default: `Object.is`. */
    equals?: ((value: Value, previous: Value) => boolean) | null | undefined
    /** Ends the watch. */
    signal?: Signal | null | undefined
  }

  /** Takes a message and its facts; the other functions of pino and bunyan take the facts and a message. */
  interface Logger {
    debug(...values: any[]): void
    info(...values: any[]): void
    warn(...values: any[]): void
    error(...values: any[]): void
  }

  /** An `AbortSignal` of any library. */
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

  /** The events of a node, and the arguments of their listeners. */
  interface Events {
    /** The id of the leader that this node knows, or null. */
    leader: [id: string | null]
    role: [role: Role]
    /** A recoverable fault. Without a listener, the first warning of each code goes to `process.emitWarning`. */
    warning: [warning: Warning]
    /**
     * The node has failed and ends. Without a listener, the node writes one line to stderr and sets `process.exitCode` to 1
     * unless it is already set. Its codes:
     *
     * - `ERR_CONFLUX_RESOURCES`: the operating system refused a thread for the storage. (If it refuses a thread or an event
     *   queue for the first node of a process, `conflux(options)` throws this error.)
     * - `ERR_CONFLUX_DUPLICATE_ID`: another live node of the cluster has this `id`; the message says whether it is in
     *   this process. If that node is in this process and is closing, this node waits for it instead.
     * - `ERR_CONFLUX_OTHER_CLUSTER`: its cluster has no leader, and another cluster on the channel has one.
     * - `ERR_CONFLUX_OTHER_APPLICATION`: the cluster on its channel belongs to another application.
     * - `ERR_CONFLUX_SESSIONS_REQUIRED`: the cluster has sessions, and this node lacks the option `sessions`.
     * - `ERR_CONFLUX_STORAGE_IN_USE`: another process has the directory of its `storage` open.
     * - `ERR_CONFLUX_STORAGE_COPIED`: its directory is a copy; another process with the same content is the member.
     * - `ERR_CONFLUX_STORAGE_OUTDATED`: its directory is an older copy: this member has run with a newer one.
     * - `ERR_CONFLUX_STORAGE_DAMAGED`: the directory does not contain what was written; the message says what to do.
     *   Nothing was changed.
     * - `ERR_CONFLUX_STORAGE`: the directory cannot be read or written (for example, the disk is full). Everything that
     *   was acknowledged is stored.
     * - `ERR_CONFLUX_PANIC`, `ERR_CONFLUX_INTERNAL`: a bug in conflux.
     */
    error: [error: Error & { code: ErrorCode }]
    /**
     * The node has diverged, `ERR_CONFLUX_DIVERGED`: its state is not to be trusted from `index` on. Its reducer threw on
     * the committed `action`, or it could not read a snapshot (`cause` is what was thrown), or its state differs from that
     * of most nodes. The node still stores entries and votes but does not lead, its last good state is readable, and its
     * calls reject with this code. The leader's state restores it once; if it diverges again, it stays diverged and
     * compacts its log by the leader's snapshots. Without a listener, conflux emits the warning
     * `WARN_CONFLUX_DIVERGED`.
     */
    diverged: [error: DivergedError]
    /** The leader's state has replaced the state of this node, which serves again. */
    restored: []
    /** The session of this node has changed (`sessions`). Calls from here on are made in the new one. */
    session: [event: SessionEvent]
    /** The node has ended, by `close` or by a failure. */
    close: []
  }

  interface DivergedError extends Error {
    code: 'ERR_CONFLUX_DIVERGED'
    /** The state is valid up to the action before this index of the log. */
    index: number
    /** The action on which the reducer threw. */
    action?: unknown
    cause?: unknown
  }

  /** The role of a node in its term. */
  type Role = 'follower' | 'candidate' | 'leader'

  /** A recoverable fault, or information for an operator; its facts are further properties. */
  type Warning =
    /** Fewer than `clusterSize` nodes are available to found a cluster. */
    | { code: 'WARN_CONFLUX_WAITING_FOR_NODES'; message: string; clusterSize: number; heard: string[] }
    /** There is a cluster, and its leader has not admitted this node yet. */
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
    /** A node or cluster on the same channel (`who`) belongs to another application. */
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
    /** The members `ids` lack the option `sessions`: no member has a session before they have it. Once per member. */
    | { code: 'WARN_CONFLUX_SESSIONS_WAIT'; message: string; ids: string[] }
    /** This node restarted with its storage and another option `voter` than it was admitted with, which counts. */
    | { code: 'WARN_CONFLUX_VOTER_IGNORED'; message: string; voter: boolean; admitted: boolean }
    /**
     * This node has left its cluster, and starts over as a new member: it was removed, or that cluster ended before its
     * first action.
     */
    | { code: 'WARN_CONFLUX_STARTING_OVER'; message: string; why: string }
    /**
     * This node founded `cluster` from the initial state, although `ids` belonged to the cluster `former` minutes ago:
     * the state of that cluster is lost unless another node has it.
     */
    | { code: 'WARN_CONFLUX_STATE_LOST'; message: string; cluster: string; former: string; ids: string[] }
    /** Two clusters share one channel. */
    | { code: 'WARN_CONFLUX_TWO_CLUSTERS'; message: string; ours: string; theirs: string }
    /** The channel does not work; the node retries without a limit. */
    | { code: 'WARN_CONFLUX_CHANNEL_BROKEN'; message: string; cause: string }
    /** The channel still does not work, for another cause. */
    | { code: 'WARN_CONFLUX_CHANNEL_STILL_BROKEN'; message: string; cause: string }
    /** The channel works again: one for each `WARN_CONFLUX_CHANNEL_BROKEN`. */
    | { code: 'WARN_CONFLUX_CHANNEL_RESTORED'; message: string }
    /**
     * Frames arrive from a node with another secret. `reason`: they are not sealed and this node has a secret; sealed and
     * this node has none; or sealed with a secret that this node does not have. Once per reason, until `setSecret`.
     */
    | {
        code: 'WARN_CONFLUX_SECRET_MISMATCH'
        message: string
        reason: 'unsealed' | 'sealed' | 'unknownKey'
      }
    /** A frame arrived that was altered, or that no node with the secret has sealed. Once, until `setSecret`. */
    | { code: 'WARN_CONFLUX_FORGED_FRAMES'; message: string; reason: 'forged' }
    /** The secret of this node has fewer than 16 bytes. */
    | { code: 'WARN_CONFLUX_WEAK_SECRET'; message: string; bytes: number }
    /** The channel leaves this machine and has no secret. Once per process and channel. */
    | {
        code: 'WARN_CONFLUX_UNAUTHENTICATED'
        message: string
        channel: string
        channelName: string
        host: string
      }
    /** The function `what` of a custom channel threw, or its promise was rejected. Each place is reported once. */
    | { code: 'WARN_CONFLUX_CHANNEL_THREW'; message: string; what: string; stack?: string }
    /**
     * A peer and this node do not let each other in: another certificate, `secret` or `channelName`. `cause` names the
     * address and the reason; each is reported once.
     */
    | { code: 'WARN_CONFLUX_PEER_REFUSED'; message: string; cause: string }
    /** A node on the same channel uses another version of the protocol. */
    | { code: 'WARN_CONFLUX_OTHER_VERSION'; message: string; theirs: number; ours: number }
    /** The state cannot be stored as JSON; `why` names the place. The log is not compacted, and grows. */
    | { code: 'WARN_CONFLUX_SNAPSHOT_FAILED'; message: string; why: string }
    /** Half of the voters or more are missing: nothing can be committed. */
    | { code: 'WARN_CONFLUX_QUORUM_LOST'; message: string; voters: number; missing: string[] }
    /**
     * The storage has not answered a write for `milliseconds`. A leader transfers leadership to a node whose storage
     * responds. The node still serves its callers, and counts for no majority until its storage responds.
     */
    | { code: 'WARN_CONFLUX_STORAGE_SLOW'; message: string; milliseconds: number }
    /** A process with a copy or an older state of the directory of the member `id` was refused. */
    | { code: 'WARN_CONFLUX_STORAGE_COPIED'; message: string; id: string }
    /** The states of nodes of one version differ, and no majority agrees. */
    | { code: 'WARN_CONFLUX_STATES_DIFFER'; message: string; index: number }
    /** There is a quorum again. */
    | { code: 'WARN_CONFLUX_QUORUM_RESTORED'; message: string }
    /** The cluster was recovered from the log of the node `from`: actions that only the missing nodes had are lost. */
    | { code: 'WARN_CONFLUX_RECOVERED'; message: string; cluster: string; from: string; missing: string[] }
    /**
     * This node's cluster was recovered without it and has ended: what it acknowledged after index `kept` may be lost. The
     * node joins `successor` and keeps its log until it has joined.
     */
    | { code: 'WARN_CONFLUX_SUPERSEDED'; message: string; ours: string; successor: string; kept: number }
    /** The cluster that this one was recovered from continued meanwhile; its nodes join this one. */
    | { code: 'WARN_CONFLUX_FORMER_CLUSTER'; message: string; ours: string; former: string; kept: number }
    /** One cluster was recovered twice, and both successors are active. */
    | { code: 'WARN_CONFLUX_TWO_SUCCESSORS'; message: string; ours: string; theirs: string; former: string }
    /** This node gave its recovery vote to a successor that has become silent: `recover` continues without it. */
    | { code: 'WARN_CONFLUX_SUCCESSOR_SILENT'; message: string; successor: string }
    /** Two copies of conflux are loaded in this process (`paths`): their nodes do not meet on the memory channel. */
    | { code: 'WARN_CONFLUX_TWO_COPIES'; message: string; paths: string[] }
    /** A method of this leader threw an error without its own `code`. Each place is reported once. */
    | { code: 'WARN_CONFLUX_METHOD_THREW'; message: string; method: string; stack?: string }
    /** The reducer of this leader threw on the action of a method. Likewise. */
    | { code: 'WARN_CONFLUX_REDUCER_THREW'; message: string; method: string; stack?: string }
    /**
     * The method of a timer refused or threw, or this leader has none of that name (`why`). Each message of a timer is
     * reported once.
     */
    | {
        code: 'WARN_CONFLUX_TIMER_FAILED'
        message: string
        timer: string
        method: string
        scheduledAt: number
        why: string
      }
    /**
     * The wall clock of this leader (`wall`) is more than a second away from the time of the cluster (`at`), which
     * approaches it slowly. Once, until the two are closer again.
     */
    | { code: 'WARN_CONFLUX_CLOCK_JUMP'; message: string; wall: number; at: number }
    /** This node has diverged, and the event `diverged` has no listener. */
    | { code: 'WARN_CONFLUX_DIVERGED'; message: string; index: number }

  /** The codes of conflux's own errors: stable. */
  type ErrorCode =
    | 'ERR_CONFLUX_ASYNC_METHOD'
    | 'ERR_CONFLUX_BUSY'
    | 'ERR_CONFLUX_CLOSED'
    | 'ERR_CONFLUX_COMPACTED'
    | 'ERR_CONFLUX_CONFLICT'
    | 'ERR_CONFLUX_DIVERGED'
    | 'ERR_CONFLUX_DUPLICATE_ID'
    | 'ERR_CONFLUX_FORGOTTEN'
    | 'ERR_CONFLUX_INTERNAL'
    | 'ERR_CONFLUX_INVALID_ARGUMENT'
    | 'ERR_CONFLUX_INVALID_OPTIONS'
    | 'ERR_CONFLUX_LAST_VOTER'
    | 'ERR_CONFLUX_LOCK_LOST'
    | 'ERR_CONFLUX_LOCK_TIMEOUT'
    | 'ERR_CONFLUX_METHOD_THREW'
    | 'ERR_CONFLUX_NOT_A_VOTER'
    | 'ERR_CONFLUX_NOT_IN_METHOD'
    | 'ERR_CONFLUX_NOT_JSON'
    | 'ERR_CONFLUX_NOT_READY'
    | 'ERR_CONFLUX_NOT_STARTED'
    | 'ERR_CONFLUX_NO_BINARY'
    | 'ERR_CONFLUX_NO_CALLER'
    | 'ERR_CONFLUX_NO_QUORUM'
    | 'ERR_CONFLUX_NO_SESSIONS'
    | 'ERR_CONFLUX_OTHER_APPLICATION'
    | 'ERR_CONFLUX_OTHER_CLUSTER'
    | 'ERR_CONFLUX_PANIC'
    | 'ERR_CONFLUX_QUORUM_NOT_LOST'
    | 'ERR_CONFLUX_REDUCER'
    | 'ERR_CONFLUX_REENTRANT'
    | 'ERR_CONFLUX_REFUSED'
    | 'ERR_CONFLUX_REMOVED'
    | 'ERR_CONFLUX_RESERVED_TYPE'
    | 'ERR_CONFLUX_RESOURCES'
    | 'ERR_CONFLUX_SESSIONS_REQUIRED'
    | 'ERR_CONFLUX_SESSION_ENDED'
    | 'ERR_CONFLUX_STORAGE'
    | 'ERR_CONFLUX_STORAGE_COPIED'
    | 'ERR_CONFLUX_STORAGE_DAMAGED'
    | 'ERR_CONFLUX_STORAGE_IN_USE'
    | 'ERR_CONFLUX_STORAGE_OUTDATED'
    | 'ERR_CONFLUX_TIMEOUT'
    | 'ERR_CONFLUX_TOO_DEEP'
    | 'ERR_CONFLUX_TOO_LARGE'
    | 'ERR_CONFLUX_TOO_MANY_TIMERS'
    | 'ERR_CONFLUX_UNKNOWN_MEMBER'
    | 'ERR_CONFLUX_UNKNOWN_METHOD'

  type WarningCode = Warning['code']

  /** Why a call was rejected. `conflux.isPerformError(error)` recognizes it. */
  interface PerformError extends Error {
    /** Stable: one of conflux's own, or the method's. */
    code: ErrorCode | (string & {})
    /**
     * - `refused`: the method refused the call, the reducer threw on its action, or one of them violated a rule about the
     *   state; nothing was logged.
     * - `not-applied`: the call had no effect, and will have none.
     * - `unknown`: the action may have been committed, or may still be.
     */
    outcome: 'refused' | 'not-applied' | 'unknown'
    /** The method that was called. */
    method?: string
    /** The id of the leader that this node knew when the call was refused. */
    leader?: string | null
    /** The stack on the leader of an error that a method or the reducer threw (`ERR_CONFLUX_METHOD_THREW`, `ERR_CONFLUX_REDUCER`). */
    remoteStack?: string
    /** The facts, and the data of a method's error. */
    [fact: string]: unknown
  }

  interface Status {
    id: string
    /** Identifies this start of the node. */
    incarnation: string
    state: 'open' | 'closing' | 'closed' | 'failed'
    /** Why the node failed. */
    failure: { code: ErrorCode; message: string } | null
    /** Why the node has diverged (see the event `diverged`), as text; null if it has not. */
    diverged: string | null
    /** Identifies the cluster; null before the node is in one. */
    cluster: string | null
    /** The intended number of voters. */
    clusterSize: number
    role: Role
    /** The id of the leader that this node knows. */
    leader: string | null
    /** The number of elections so far. */
    term: number
    /** The last index of the log that a quorum is known to have. */
    commitIndex: number
    /** The last index whose action is in `getState()`. */
    appliedIndex: number
    lastIndex: number
    /** The last index that this node's snapshot contains; 0 if there is no snapshot. */
    snapshotIndex: number
    quorum: {
      /** Too few voters are active to commit anything. */
      lost: boolean
      /** While the quorum is lost: the missing voters, and how long each has been silent. */
      missing: { id: string; silentMs: number }[]
    }
    /**
     * How many more voters may crash now without stopping the cluster, according to what the leader received within an
     * election timeout.
     */
    faultTolerance: number
    /** Sorted by id; empty before the node is in a cluster. */
    members: Member[]
    /** The number of this node's session; null without one. */
    session: number | null
    /** The live sessions that this node has applied, oldest first; empty without `sessions`. */
    sessions: Session[]
    /** Calls of this node that have not ended. */
    pending: number
    /**
     * What the node is waiting for, as text, while it is not in a cluster with a leader or has not caught up with it. While
     * it receives a snapshot: `receiving the state: 12.0 of 40.0 MB`.
     */
    waitingFor: string | null
    /** Everything that was committed when this node was admitted or returned is in `getState()`. */
    caughtUp: boolean
    /** The store is idle, one of many in this process, and its heartbeats are rare (docs/guide.md, "Idle stores"). */
    hibernating: boolean
    /** How many timers the cluster has, and when the next one is due, in milliseconds since 1970, or null. */
    timers: { count: number; nextDue: number | null }
    /** How many frames had no effect, by reason (docs/channels.md). */
    droppedFrames: DroppedFrames
  }

  interface DroppedFrames {
    /** Not sealed, and this node has a secret. */
    unsealed: number
    /** Sealed, and this node has no secret. */
    sealed: number
    /** Sealed with a secret that this node does not have. */
    unknownKey: number
    /** Altered, or not sealed by a node with the secret. */
    forged: number
    /** Accepted before, or too old to know. */
    replayed: number
    /** Sealed for another node. */
    misdirected: number
    malformed: number
    otherVersion: number
  }

  interface Member {
    id: string
    incarnation: string
    /** Whether it counts in quorums; a learner only receives. */
    voter: boolean
    /** Whether it is a voter or may become one: the option `voter` of that node. */
    mayVote: boolean
    /** Whether this node received something from it within the last election timeout. Only the leader hears all members. */
    active: boolean
    /** The option `version` of that node; null while unknown. */
    version: string | null
    /** The last index up to which its log is known to match the leader's; null except on the leader. */
    matchedIndex: number | null
    /** The name of the key with which it seals, as far as this node heard; null while unknown, and without a secret. */
    keyId: string | null
  }
}

export = conflux
