// Checks the options of `conflux(options)` and fills in the defaults.
//
// All faults are found before any is reported, in the order of the tables below.

'use strict'

const { URL } = require('node:url')
const { Buffer } = require('./environment')
const errors = require('./errors')
const { nameOf } = require('./json-faults')
const { kindOf, shown } = require('./kind')
const { faultOfPeers, isLoopback, isUnspecified, listenOf, partsOf, quoted } = require('./peers')
const { normalizeRedis } = require('./redis-options')
const { checkSecret } = require('./secret')
const { suggestion } = require('./suggestion')

const ID_BYTES_MAX = 256
const CLUSTER_SIZE_MAX = 99
const MILLISECONDS_MAX = 60 * 60 * 1000
const SNAPSHOT_ENTRIES_MAX = 1e9
const SNAPSHOT_BYTES_MAX = 2 ** 40
const RECOVER_AFTER_MAX = 2147483647

/** No node counts as dead before this many election timeouts, so no quorum counts as lost. */
const ELECTION_TIMEOUTS_UNTIL_DEAD = 10

const OPTIONS = {
  id: { required: true, check: name },
  clusterSize: { required: true, check: integer(1, CLUSTER_SIZE_MAX) },
  voter: { default: true, check: boolean },
  channel: { required: true, check: channel },
  methods: { required: true, check: methods },
  reduce: { required: true, check: func },
  // Any value, or a function that makes one. null is a state like any other.
  initialState: { isNullable: true, check: value => value },
  electionTimeout: { default: { min: 300, max: 500 }, check: range },
  heartbeatInterval: { default: 50, check: integer(1, MILLISECONDS_MAX) },
  maxPending: { default: 100000, check: integer(1, 10000000) },
  storage: { check: storage },
  snapshot: { default: { entries: 10000, bytes: 16 * 1024 * 1024 }, check: snapshot },
  version: { default: '', check: version },
  application: { check: name },
  compareStates: { default: true, check: boolean },
  checkState: { default: true, check: boolean },
  captureStacks: { check: boolean },
  logger: { check: logger },
  quorumLoss: { default: 'wait', check: quorumLoss },
  sessions: { check: sessions },
  // An option of 1.x without a promise: accepted and ignored.
  accelerateHeartbeats: { check: () => undefined }
}

const ELECTION_TIMEOUT = {
  min: { required: true, check: integer(1, MILLISECONDS_MAX) },
  max: { required: true, check: integer(1, MILLISECONDS_MAX) }
}

const STORAGE = {
  path: { required: true, check: pathname }
}

const SNAPSHOT = {
  entries: { default: 10000, check: integer(1, SNAPSHOT_ENTRIES_MAX) },
  bytes: { default: 16 * 1024 * 1024, check: integer(1, SNAPSHOT_BYTES_MAX) },
  serialize: { check: func },
  deserialize: { check: func }
}

const QUORUM_LOSS = {
  recoverAfter: { required: true, check: integer(1, RECOVER_AFTER_MAX) }
}

const SESSION_TIMEOUT_MS = 2000

/** A leader of the cluster is replaced before its session ends, so that a session is not lost by an election. */
const ELECTION_TIMEOUTS_PER_SESSION_TIMEOUT = 3

const SESSIONS = {
  timeout: { check: integer(1, MILLISECONDS_MAX) }
}

const HOST = { check: name }

const PORT = { check: integer(1, 65535) }

const CHANNELS = {
  local: {
    name: { required: true, check: name },
    channelName: { default: 'conflux', check: name },
    path: { check: pathname }
  },
  tcp: {
    name: { required: true, check: name },
    channelName: { default: 'conflux', check: name },
    listen: { required: true, check: listen },
    advertise: { check: advertise },
    peers: { required: true, check: peers },
    tls: { check: peerTls }
  },
  redis: {
    name: { required: true, check: name },
    channelName: { default: 'conflux', check: name },
    connectionString: { check: connectionString },
    host: { check: string },
    port: { check: integer(1, 65535) },
    username: { check: stringOrFunction },
    password: { check: stringOrFunction },
    db: { check: integer(0, 2147483647) },
    tls: { check: tls('channel.tls.') },
    // What follows has the names of ioredis and node-redis (redis-options.js).
    url: { check: connectionString },
    path: { check: pathname },
    database: { check: integer(0, 2147483647) },
    socket: { check: socket },
    sentinels: { check: servers({ host: HOST, port: PORT }) },
    sentinelRootNodes: { check: servers({ host: HOST, port: PORT }) },
    masterName: { check: name },
    sentinelUsername: { check: string },
    sentinelPassword: { check: string },
    sentinelTls: { check: boolean },
    rootNodes: { check: servers({ host: { check: string }, port: PORT, url: { check: nodeUrl } }) }
  },
  memory: {
    name: { required: true, check: name },
    channelName: { default: 'conflux', check: name }
  },
  custom: {
    name: { required: true, check: name },
    channelName: { default: 'conflux', check: name },
    join: { required: true, check: func }
  },
  'socket.io': {
    name: { required: true, check: name },
    host: { required: true, check: socketIOHost },
    channel: { default: 'conflux', check: name },
    options: { check: object }
  }
}

const SOCKET = {
  host: { check: string },
  port: PORT,
  path: { check: pathname },
  tls: { check: tls('channel.socket.tls.') },
  ca: { check: string },
  cert: { check: string },
  key: { check: string }
}

/** Of every channel. */
const CHANNEL = {
  secret: { check: checkSecret }
}

/** Of a TCP channel: a text in PEM, or the path of a file that holds it. */
const PEER_TLS = {
  cert: { required: true, check: pem },
  key: { required: true, check: pem },
  ca: { required: true, check: pem },
  allow: { check: allow }
}

const TLS = {
  ca: { check: string },
  cert: { check: string },
  key: { check: string }
}

/**
 * The options with all defaults; objects in them are copies.
 *
 * @throws `ERR_CONFLUX_INVALID_OPTIONS` with all faults in one message.
 */
function check(given = {}) {
  if (!isObject(given)) throw errors.invalidOptions([`the options must be an object, got ${shown(given)}`])
  const faults = []
  const options = checkFields(OPTIONS, given, '', faults)
  const { electionTimeout, heartbeatInterval, quorumLoss } = options
  if (faults.length === 0 && heartbeatInterval >= electionTimeout.min) {
    faults.push('"heartbeatInterval" must be less than "electionTimeout.min"')
  }
  if (faults.length === 0 && quorumLoss.recoverAfter < ELECTION_TIMEOUTS_UNTIL_DEAD * electionTimeout.max) {
    faults.push(
      `"quorumLoss.recoverAfter" must be at least ${ELECTION_TIMEOUTS_UNTIL_DEAD} times "electionTimeout.max"`
    )
  }
  if (faults.length === 0 && options.sessions !== undefined) checkSessionTimeout(options, faults)
  if (faults.length > 0) throw errors.invalidOptions(faults)
  return options
}

/** The default is never too short. */
function checkSessionTimeout({ sessions, electionTimeout }, faults) {
  const least = ELECTION_TIMEOUTS_PER_SESSION_TIMEOUT * electionTimeout.max
  sessions.timeout ??= Math.max(SESSION_TIMEOUT_MS, least)
  if (sessions.timeout < least) {
    faults.push(
      `"sessions.timeout" must be at least ${ELECTION_TIMEOUTS_PER_SESSION_TIMEOUT} times "electionTimeout.max" (${least} ms), got ${sessions.timeout}`
    )
  }
}

/** Checks each field of the table, then reports fields that are not in the table. */
function checkFields(table, given, prefix, faults) {
  const result = {}
  for (const [key, field] of Object.entries(table)) {
    const value = given[key]
    if (value != null || (value === null && field.isNullable))
      result[key] = field.check(value, `"${prefix}${key}"`, faults)
    else if (field.required) faults.push(`"${prefix}${key}" is required`)
    else if (field.default !== undefined) result[key] = field.default
  }
  for (const key of Object.keys(given)) {
    if (!Object.hasOwn(table, key))
      faults.push(`"${prefix}${key}" is unknown${suggestion(key, Object.keys(table))}`)
  }
  return result
}

// A check returns the value in its final form, or reports a fault.

function string(value, path, faults) {
  if (typeof value !== 'string' || !value.isWellFormed())
    faults.push(`${path} must be a string, got ${shown(value)}`)
  return value
}

function stringOrFunction(value, path, faults) {
  if (typeof value === 'function' || (typeof value === 'string' && value.isWellFormed())) return value
  faults.push(`${path} must be a string or a function that returns one, got ${shown(value)}`)
  return value
}

function name(value, path, faults) {
  if (typeof value !== 'string' || value === '' || !value.isWellFormed()) {
    faults.push(`${path} must be a non-empty string, got ${shown(value)}`)
  } else if (Buffer.byteLength(value) > ID_BYTES_MAX) {
    faults.push(`${path} must have at most ${ID_BYTES_MAX} bytes`)
  }
  return value
}

function integer(min, max) {
  return (value, path, faults) => {
    if (!Number.isInteger(value) || value < min || value > max) {
      faults.push(`${path} must be an integer from ${min} to ${max}, got ${shown(value)}`)
    }
    return value
  }
}

function func(value, path, faults) {
  if (typeof value !== 'function') faults.push(`${path} must be a function, got ${shown(value)}`)
  return value
}

function object(value, path, faults) {
  if (!isObject(value)) faults.push(`${path} must be an object, got ${shown(value)}`)
  return value
}

/** A getter is not called: it may decide at the call what the method is. */
function methods(value, path, faults) {
  if (!isObject(value)) return object(value, path, faults)
  for (const key of Object.keys(value)) {
    const descriptor = Object.getOwnPropertyDescriptor(value, key)
    if (descriptor === undefined || !Object.hasOwn(descriptor, 'value')) continue
    if (typeof descriptor.value !== 'function') {
      faults.push(`"methods${nameOf(key)}" must be a function, got ${kindOf(descriptor.value)}`)
    }
  }
  if (Object.keys(value).length === 0 && !isPlain(value)) {
    const kind = kindOfInstance(value)
    faults.push(`${path} must have its functions as own properties, got ${kind} without any`)
  }
  return value
}

/** What `{}` makes, also in another realm. */
function isPlain(value) {
  const prototype = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

function kindOfInstance(value) {
  const { name } = value.constructor ?? {}
  return typeof name === 'string' && name !== '' ? `an instance of ${name}` : kindOf(value)
}

function boolean(value, path, faults) {
  if (typeof value !== 'boolean') faults.push(`${path} must be true or false, got ${shown(value)}`)
  return value
}

function version(value, path, faults) {
  string(value, path, faults)
  if (typeof value === 'string' && Buffer.byteLength(value) > ID_BYTES_MAX) {
    faults.push(`${path} must have at most ${ID_BYTES_MAX} bytes`)
  }
  return value
}

const LOG_LEVELS = ['debug', 'info', 'warn', 'error']

function logger(value, path, faults) {
  const missing = LOG_LEVELS.filter(level => typeof value[level] !== 'function')
  if (missing.length > 0) faults.push(`${path} must have the functions ${missing.join(', ')}`)
  return value
}

function pathname(value, path, faults) {
  if (typeof value !== 'string' || value === '' || value.includes('\0') || !value.isWellFormed()) {
    faults.push(`${path} must be the path of a directory, got ${shown(value)}`)
  }
  return value
}

function storage(value, path, faults) {
  if (isObject(value)) return checkFields(STORAGE, value, 'storage.', faults)
  faults.push(`${path} must be an object with a "path", got ${shown(value)}`)
  return value
}

function snapshot(value, path, faults) {
  if (!isObject(value)) {
    faults.push(`${path} must be an object, got ${shown(value)}`)
    return value
  }
  const result = checkFields(SNAPSHOT, value, 'snapshot.', faults)
  if ((result.serialize === undefined) !== (result.deserialize === undefined)) {
    faults.push('"snapshot.serialize" and "snapshot.deserialize" belong together')
  }
  return result
}

function quorumLoss(value, path, faults) {
  if (value === 'wait') return value
  if (isObject(value)) return checkFields(QUORUM_LOSS, value, 'quorumLoss.', faults)
  faults.push(`${path} must be "wait" or an object with "recoverAfter", in milliseconds, got ${shown(value)}`)
  return value
}

function sessions(value, path, faults) {
  if (value === true) return {}
  if (value === false) return undefined
  if (isObject(value)) return checkFields(SESSIONS, value, 'sessions.', faults)
  faults.push(`${path} must be true or an object with "timeout", in milliseconds, got ${shown(value)}`)
  return value
}

function range(value, path, faults) {
  if (!isObject(value)) {
    faults.push(`${path} must be an object with "min" and "max", in milliseconds, got ${shown(value)}`)
    return value
  }
  const before = faults.length
  const result = checkFields(ELECTION_TIMEOUT, value, 'electionTimeout.', faults)
  if (faults.length === before && result.min > result.max) {
    faults.push('"electionTimeout.min" must not be more than "electionTimeout.max"')
  }
  return result
}

function channel(value, path, faults) {
  if (!isObject(value)) {
    faults.push(`${path} must be an object with a "name", got ${shown(value)}`)
    return value
  }
  if (typeof value.name !== 'string' || !Object.hasOwn(CHANNELS, value.name)) {
    const known = Object.keys(CHANNELS).map(name => `"${name}"`)
    const rule = `${known.slice(0, -1).join(', ')} or ${known.at(-1)}`
    faults.push(value.name == null ? '"channel.name" is required' : `"channel.name" must be ${rule}`)
    return value
  }
  const result = checkFields({ ...CHANNELS[value.name], ...CHANNEL }, value, 'channel.', faults)
  checkReachable(result, faults)
  if (typeof result.join === 'function') {
    const { join } = result
    result.join = (...args) => Reflect.apply(join, value, args)
  }
  return value.name === 'redis' ? normalizeRedis(result, faults) : result
}

function socket(value, path, faults) {
  return isObject(value) ? checkFields(SOCKET, value, 'channel.socket.', faults) : object(value, path, faults)
}

function servers(table) {
  return (value, path, faults) => {
    if (!Array.isArray(value) || value.length === 0 || !value.every(isObject)) {
      faults.push(`${path} must be a list of servers: [{ host, port }, …], got ${shown(value)}`)
      return value
    }
    return value.map((server, i) => {
      const prefix = `${path.slice(1, -1)}[${i}].`
      const result = checkFields(table, server, prefix, faults)
      if (!result.host && !result.url) faults.push(`"${prefix}host" is required`)
      return result
    })
  }
}

/** The login is the same on all nodes, and not part of their addresses. */
function nodeUrl(value, path, faults) {
  if (typeof value !== 'string' || !/^rediss?:\/\/[^@/?#]+\/?$/.test(value) || !URL.canParse(value)) {
    faults.push(`${path} must be redis://host:port or rediss://host:port, without a user, a password or a db`)
  }
  return value
}

function listen(value, path, faults) {
  const text = listenOf(value)
  if (text !== null) return text
  faults.push(
    `${path} must be a port, or an address of this machine as "address:port", "localhost:port" or ":port", got ${quoted(value)}`
  )
  return value
}

function advertise(value, path, faults) {
  const parts = partsOf(value)
  if (parts === null) {
    faults.push(`${path} must be "host:port", got ${quoted(value)}`)
  } else if (isUnspecified(parts.host)) {
    faults.push(`${path} must be an address that others can connect to, got ${quoted(value)}`)
  }
  return value
}

function peers(value, path, faults) {
  if (typeof value === 'function') return value
  const fault = faultOfPeers(value)
  if (fault !== null) faults.push(`${path} must be ${fault}, or a function that returns one`)
  return value
}

/** A node that announces a loopback address to other machines sends them to themselves. */
function checkReachable({ advertise, peers }, faults) {
  if (partsOf(advertise) === null || !Array.isArray(peers)) return
  const remote = peers.find(peer => partsOf(peer) !== null && !isLoopback(partsOf(peer).host))
  if (remote !== undefined && isLoopback(partsOf(advertise).host)) {
    faults.push(
      `"channel.advertise" is ${quoted(advertise)}, which a peer on another machine (${remote}) cannot connect to`
    )
  }
}

/** `true` is TLS with nothing special. */
function tls(prefix) {
  return (value, path, faults) => {
    if (value === true) return {}
    if (value === false) return undefined
    if (!isObject(value)) {
      faults.push(`${path} must be true or an object, got ${shown(value)}`)
      return value
    }
    const result = checkFields(TLS, value, prefix, faults)
    if ((result.cert === undefined) !== (result.key === undefined)) {
      faults.push(`"${prefix}cert" and "${prefix}key" belong together`)
    }
    return result
  }
}

function peerTls(value, path, faults) {
  if (isObject(value)) return checkFields(PEER_TLS, value, 'channel.tls.', faults)
  faults.push(`${path} must be an object with "cert", "key" and "ca", got ${shown(value)}`)
  return value
}

/** The value may be a key: it is never part of a message. */
function pem(value, path, faults) {
  if (Buffer.isBuffer(value)) return value.toString()
  if (typeof value !== 'string' || value === '' || value.includes('\0') || !value.isWellFormed()) {
    faults.push(`${path} must be a text in PEM, or the path of a file that holds it`)
  }
  return value
}

function allow(value, path, faults) {
  const isName = name => typeof name === 'string' && name !== '' && name.isWellFormed()
  if (!Array.isArray(value) || value.length === 0 || !value.every(isName)) {
    faults.push(`${path} must be a non-empty array of the DNS names or URIs of peers`)
  }
  return value
}

function connectionString(value, path, faults) {
  // The value may hold a password: it is never part of a message.
  if (typeof value !== 'string' || !value.isWellFormed() || !/^(rediss?|unix):\/\//.test(value)) {
    faults.push(`${path} must be a string that starts with redis://, rediss:// or unix://`)
  }
  return value
}

/** A path in it would be a namespace of socket.io. */
function socketIOHost(value, path, faults) {
  if (typeof value !== 'string' || !/^(https?|wss?):\/\/[^/?#]+\/?$/.test(value)) {
    faults.push(
      `${path} must be the address of a socket.io server, such as "http://localhost:8000", without a path`
    )
  }
  return value
}

function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

module.exports = { check }
