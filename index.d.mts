import conflux from './index.js'

export default conflux

// An `export =` has no `export *`: each type by its name (`types.test.js` holds this list against index.d.ts).
export type {
  Action,
  ActionOf,
  AnyMethods,
  AskOptions,
  Callback,
  CloseOptions,
  Commit,
  CommitsOptions,
  CommonOptions,
  CustomChannel,
  CustomLink,
  DivergedError,
  ErrorCode,
  Events,
  Logger,
  Member,
  MemoryChannel,
  Node,
  Options,
  OptionsOfRedux,
  OptionsWithInitialState,
  OptionsWithoutInitialState,
  PerformArguments,
  PerformError,
  PerformOptions,
  Performed,
  ReadyOptions,
  RedisChannel,
  Refused,
  Role,
  Signal,
  SnapshotOptions,
  SocketIOChannel,
  Status,
  Warning,
  WarningCode,
  WatchOptions
} from './index.js'
