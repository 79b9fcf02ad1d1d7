import type { Action, Dispatch, Middleware, Reducer, Store, UnknownAction } from 'redux'
import conflux = require('./index')

/**
 * The options of a node whose state and reducer are those of Redux. Actions go through one method, `dispatch`; two
 * slices may have actions of the same name. The options can be extended, with methods of your own among others: what
 * they return is reduced by the same reducer.
 *
 * @example
 * ```js
 * const node = conflux({
 *   id: 'a',
 *   clusterSize: 3,
 *   channel: { name: 'redis' },
 *   ...storeOptions({ todos: todosSlice, users: usersSlice })
 * })
 * const store = toStore(node)
 * await store.dispatch(todosSlice.actions.added('milk'))
 * ```
 *
 * @param source a reducer, also one of `combineReducers` or `combineSlices`; a slice of Redux Toolkit, whose state is
 *   then that of the node; an array of slices, each at its `reducerPath`; or an object of reducers and slices, each at
 *   its key.
 * @param options.preloadedState the state to begin with, the same on all nodes; reducers fill in what it lacks.
 * @throws {TypeError} `ERR_CONFLUX_INVALID_ARGUMENT`: it is none of these.
 */
export function storeOptions<State, A extends Action = UnknownAction, Preloaded = State>(
  reducer: Reducer<State, A, Preloaded>,
  options?: { preloadedState?: Preloaded | undefined }
): StoreOptions<State, A>
export function storeOptions<State>(
  slice: SliceOf<State>,
  options?: { preloadedState?: State | undefined }
): StoreOptions<State, UnknownAction>
export function storeOptions<const Slices extends readonly SliceOf<any>[]>(
  slices: Slices,
  options?: { preloadedState?: Partial<StateOfSlices<Slices>> | undefined }
): StoreOptions<StateOfSlices<Slices>, UnknownAction>
export function storeOptions<Parts extends Record<string, Reducer<any, any, any> | SliceOf<any>>>(
  parts: Parts,
  options?: { preloadedState?: Partial<StateOfParts<Parts>> | undefined }
): StoreOptions<StateOfParts<Parts>, UnknownAction>

/** What `storeOptions` gives. */
export interface StoreOptions<State, A extends Action> {
  initialState: () => State
  methods: { dispatch(action: A): A }
  reduce(state: State, action: A): State
}

/** The parts of a Redux Toolkit slice that are used. */
export interface SliceOf<State> {
  name: string
  reducerPath?: string | undefined
  reducer: Reducer<State, any, any>
}

export type StateOfSlices<Slices extends readonly SliceOf<any>[]> = {
  [Slice in Slices[number] as KeyOfSlice<Slice>]: Slice extends SliceOf<infer State> ? State : never
}

export type StateOfParts<Parts> = {
  [Key in keyof Parts]: Parts[Key] extends SliceOf<infer State>
    ? State
    : Parts[Key] extends Reducer<infer State, any, any>
      ? State
      : never
}

/** @internal */
type KeyOfSlice<Slice> = Slice extends { reducerPath: infer Path extends string }
  ? Path
  : Slice extends { name: infer Name extends string }
    ? Name
    : never

/**
 * The node as a store of Redux: for react-redux, selectors, and everything else that reads a store. All nodes may
 * have one, and any number of them.
 *
 * - `dispatch(action)` returns a promise: it resolves with the action once that is committed and reduced on this node,
 *   and rejects as `node.perform` does. A second argument is `{ timeout, signal }`.
 * - Listeners are called after every committed action, from every node.
 * - Middleware runs on the node that dispatched, once the action is committed: before `next`, `getState()` is the
 *   state that the middleware saw last; after it, the one with the action. So listeners and loggers see what they do
 *   in Redux. Middleware cannot change an action or keep it from being committed: do that in an action creator, or in
 *   a method, which runs on the leader. Values that could not be committed anyway pass through the middleware
 *   immediately: a thunk, a promise, an action that contains functions.
 * - `replaceReducer` throws: all nodes must reduce alike.
 *
 * A node with a `storage` is `ready()` before its state can be read.
 *
 * @throws {TypeError} `ERR_CONFLUX_INVALID_ARGUMENT`: a wrong or an unknown option.
 */
export function toStore<
  State,
  Methods extends { dispatch(action: any): any },
  const Middlewares extends readonly Middleware<any, any, any>[] = []
>(
  node: conflux.Node<State, Methods>,
  options?: { middleware?: Middlewares | undefined }
): ReplicatedStore<State, ActionOf<Methods>, Middlewares>

/** A `Store` of Redux in every place that takes one. */
export interface ReplicatedStore<
  State,
  A extends Action = UnknownAction,
  Middlewares extends readonly Middleware<any, any, any>[] = []
> extends Omit<Store<State, A>, 'dispatch'> {
  dispatch: AsyncDispatch<A> & DispatchOf<Middlewares> & Dispatch<A>
}

/** `dispatch` of a store whose actions are agreed on first. */
export interface AsyncDispatch<A extends Action = UnknownAction> {
  <T extends A>(action: T, options?: conflux.PerformOptions): Promise<T>
}

/** @internal What middleware adds to `dispatch`. */
type DispatchOf<Middlewares extends readonly Middleware<any, any, any>[]> = Middlewares extends readonly [
  infer First,
  ...infer Rest extends readonly Middleware<any, any, any>[]
]
  ? (First extends Middleware<infer Extension, any, any> ? Extension : unknown) & DispatchOf<Rest>
  : unknown

/** @internal */
type ActionOf<Methods> = Methods extends { dispatch(action: infer A extends Action): any } ? A : never
