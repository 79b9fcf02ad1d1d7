// Brings the options of a Redis channel, which may have the names of ioredis or node-redis, into one form.
//
// Called by options.js, which has checked each field on its own. No message may contain a connection string or a
// password.

'use strict'

const { URL, URLSearchParams } = require('node:url')
const { encodeURIComponent } = require('./environment')

const SENTINEL_PORT = 26379
const REDIS_PORT = 6379
const PRIMARY_NAME = 'mymaster'

/** What describes one server, and so cannot be given beside what describes another, or several. */
const SERVER_FIELDS = ['connectionString', 'host', 'port', 'path', 'sentinels', 'rootNodes']

/**
 * `{ name, channelName, secret, connectionString | host, port, username, password, db, tls, sentinels, clusterNodes }`.
 *
 * @param faults gets a sentence for what is given twice, or does not go together.
 */
function normalizeRedis(given, faults) {
  const { name, channelName, secret, username, password } = given
  const one = merged(given, faults)
  const { connectionString, host, port, path, db, tls } = one
  const servers = SERVER_FIELDS.filter(field => one[field] !== undefined)
  // A host and a port are one server.
  const ways = new Set(servers.map(field => (field === 'port' ? 'host' : field)))
  if (ways.size > 1) {
    const [first, ...others] = servers
    for (const other of others) faults.push(`"channel.${other}" can't be given beside "channel.${first}"`)
  }
  for (const field of connectionString === undefined ? [] : ['username', 'password', 'db']) {
    if (one[field] !== undefined)
      faults.push(`"channel.${field}" can't be given beside "channel.connectionString"`)
  }
  if (one.rootNodes !== undefined && db > 0) faults.push('"channel.db" must be 0 in a Redis Cluster')
  if (given.sentinelTls && tls === undefined) faults.push('"channel.sentinelTls" needs "channel.tls"')
  // What is wrong cannot be normalized, and is not used.
  if (faults.length > 0) return given
  const common = { name, channelName, secret }
  if (connectionString !== undefined) return { ...common, connectionString, tls }
  if (path !== undefined)
    return { ...common, ...functions({ username, password }), connectionString: unixUrl(path, one) }
  const login = { ...common, username, password, tls }
  if (one.sentinels !== undefined) return { ...login, db, sentinels: sentinelsOf(given, one) }
  if (one.rootNodes === undefined) return { ...login, host, port, db }
  const clusterNodes = one.rootNodes.map(serverOf)
  return { ...login, tls: tls ?? tlsOf(one.rootNodes), clusterNodes }
}

/** One value for what both clients call differently. */
function merged(given, faults) {
  const { socket = {} } = given
  const one = (field, ...others) => {
    const found = [[field, given[field]], ...others].filter(([, value]) => value !== undefined)
    for (const [other] of found.slice(1)) {
      faults.push(`"channel.${other}" can't be given beside "channel.${found[0][0]}"`)
    }
    return found[0]?.[1]
  }
  return {
    ...given,
    connectionString: one('connectionString', ['url', given.url]),
    host: one('host', ['socket.host', socket.host]),
    port: one('port', ['socket.port', socket.port]),
    path: one('path', ['socket.path', socket.path]),
    db: one('db', ['database', given.database]),
    tls: one('tls', ['socket.tls', socketTls(socket)]),
    sentinels: one('sentinels', ['sentinelRootNodes', given.sentinelRootNodes])
  }
}

/** In node-redis the certificates are beside `tls: true`. */
function socketTls({ tls, ca, cert, key }) {
  if (tls === undefined || (ca === undefined && cert === undefined)) return tls
  return { ca, cert, key, ...tls }
}

function sentinelsOf({ masterName, sentinelUsername, sentinelPassword, sentinelTls }, { sentinels }) {
  return {
    servers: sentinels.map(({ host, port = SENTINEL_PORT }) => ({ host, port })),
    primaryName: masterName ?? PRIMARY_NAME,
    username: sentinelUsername,
    password: sentinelPassword,
    usesTls: sentinelTls === true
  }
}

function serverOf({ host, port = REDIS_PORT, url }) {
  if (url === undefined) return { host, port }
  const { hostname, port: given } = new URL(url)
  return { host: hostname.replace(/^\[|\]$/g, ''), port: given === '' ? REDIS_PORT : Number(given) }
}

function tlsOf(nodes) {
  return nodes.some(({ url }) => url?.startsWith('rediss:')) ? {} : undefined
}

/** They are asked for each connection, and are no part of a URL. */
function functions(login) {
  return Object.fromEntries(Object.entries(login).filter(([, value]) => typeof value === 'function'))
}

function unixUrl(path, { db, username, password }) {
  const parameters = new URLSearchParams()
  if (db !== undefined) parameters.set('db', db)
  if (typeof username === 'string') parameters.set('user', username)
  if (typeof password === 'string') parameters.set('pass', password)
  // In a path, `+` is itself; in parameters the addon wants `%20` for a space.
  const query = parameters.toString().replaceAll('+', '%20')
  const encoded = path.split('/').map(encodeURIComponent).join('/')
  return `unix://${encoded}${query === '' ? '' : `?${query}`}`
}

module.exports = { normalizeRedis }
