// Finds what to warn of when a node opens or gets another secret: a second copy of conflux, a channel without a secret
// that leaves the machine, a secret that can be guessed.
//
// Called by node.js. No message may contain a secret or a password.

'use strict'

const { URL } = require('node:url')
const { copyWarning } = require('./copy-check')
const { isLoopback, partsOf } = require('./peers')
const { weakSecretWarning } = require('./secret')

/** The channels of this process that were reported. */
const reported = new Set()

/** `{ code, message, ...facts }` for each warning. */
function channelWarnings(channel) {
  const warnings =
    channel.secret === undefined ? [unauthenticatedWarning(channel)] : [weakSecretWarning(channel.secret)]
  if (channel.name === 'memory') warnings.push(copyWarning())
  return warnings.filter(warning => warning)
}

/** Once per process and channel. */
function unauthenticatedWarning(channel) {
  const host = remoteHost(channel)
  const { name, channelName = channel.channel } = channel
  const key = JSON.stringify([name, channelName, host])
  if (host === null || reported.has(key)) return undefined
  reported.add(key)
  return {
    code: 'WARN_CONFLUX_UNAUTHENTICATED',
    message:
      `the channel "${channelName}" over ${host} has no secret: every client that reaches it can read and forge ` +
      `the messages of nodes; give all nodes the same \`channel.secret\`${name === 'tcp' ? ', or use `channel.tls`' : ''}`,
    channel: name,
    channelName,
    host
  }
}

/** The host by which frames leave this machine; null if they do not. */
function remoteHost(channel) {
  switch (channel.name) {
    case 'redis':
      return remoteHostOfRedis(channel)
    case 'socket.io':
      return remoteHostOfSocketIO(channel)
    case 'tcp':
      return channel.tls === undefined ? remoteHostOfTcp(channel) : null
    default:
      return null
  }
}

function remoteHostOfRedis({ connectionString, host, sentinels, clusterNodes }) {
  const servers = sentinels?.servers ?? clusterNodes ?? []
  const hosts = [connectionString === undefined ? (host ?? '') : hostOf(connectionString)]
  hosts.push(...servers.map(server => server.host))
  return hosts.find(host => host !== '' && !isOfThisMachine(host)) ?? null
}

function remoteHostOfSocketIO({ host }) {
  const given = hostOf(host)
  return given === '' || isOfThisMachine(given) ? null : given
}

/** Every process that can connect to the address is let in. */
function remoteHostOfTcp({ listen }) {
  const host = partsOf(listen, 0)?.host ?? '0.0.0.0'
  return isLoopback(host) ? null : host
}

function hostOf(connectionString) {
  if (connectionString.startsWith('unix:')) return ''
  try {
    return new URL(connectionString).hostname
  } catch {
    // The addon refuses it.
    return ''
  }
}

function isOfThisMachine(host) {
  const name = host.toLowerCase().replace(/^\[|\]$|\.$/g, '')
  return (
    /^(.+\.)?localhost$/.test(name) ||
    /^(::ffff:)?127(\.\d+){3}$/.test(name) ||
    ['::1', '::', '0.0.0.0'].includes(name)
  )
}

module.exports = { channelWarnings }
