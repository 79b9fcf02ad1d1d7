// Encodes the options for the core (src/js/options.rs).

'use strict'

const { randomBytes } = require('node:crypto')
const path = require('node:path')
const { authoritiesOf } = require('./authorities')
const { credentialsIdentity } = require('./credentials')
const errors = require('./errors')

/** A JSON text. Throws where the path of the storage is relative to a directory that is gone. */
function nativeOptions({ id, clusterSize, voter, channel, electionTimeout, heartbeatInterval, ...rest }) {
  const { storage, snapshot, version, application, methods, compareStates, quorumLoss, sessions } = rest
  return JSON.stringify({
    id,
    clusterSize,
    voter,
    channel: nativeChannel(channel),
    secrets: channel.secret,
    electionTimeout,
    heartbeatInterval,
    storagePath: storage && absolute('storage.path', storage.path),
    snapshotEntries: snapshot.entries,
    snapshotBytes: snapshot.bytes,
    version,
    application,
    methods: Object.getOwnPropertyNames(methods).map(name => name.toWellFormed()),
    compareStates,
    sessionTimeout: sessions?.timeout,
    recoverAfter: quorumLoss === 'wait' ? undefined : quorumLoss.recoverAfter,
    // The core draws no random numbers of its own: a seed and the same inputs give the same decisions.
    seed: randomBytes(32).toString('hex')
  })
}

/** The channel for the core. `core.js` calls the functions, which cannot be part of JSON. */
function nativeChannel(channel) {
  if (channel.name === 'socket.io') return { name: 'custom', channelName: channel.channel }
  const { path: directory, name, tls } = channel
  return {
    ...channel,
    secret: undefined,
    authorities: authoritiesOf(channel),
    credentials: name === 'redis' ? credentialsIdentity(channel) : undefined,
    path: directory && absolute('channel.path', directory),
    tls: name === 'tcp' && tls !== undefined ? peerTls(tls) : tls
  }
}

/** Files are read again for each connection. */
function peerTls({ allow, ...given }) {
  const sources = Object.entries(given).map(([option, value]) => [
    option,
    value.includes('-----BEGIN ') ? value : { file: absolute(`channel.tls.${option}`, value) }
  ])
  return { allow, ...Object.fromEntries(sources) }
}

/** The node may outlive the directory that the process was in. */
function absolute(option, given) {
  try {
    return path.resolve(given)
  } catch (error) {
    throw errors.invalidOptions([
      `"${option}" is relative to a working directory that cannot be read: ${errors.messageOf(error)}`
    ])
  }
}

module.exports = { nativeOptions }
