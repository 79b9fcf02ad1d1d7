// The addresses in the options of a TCP channel, and the function that may give them.
//
// The function is called by the native addon every few seconds. It must never throw.

'use strict'

const { isIP, isIPv4 } = require('node:net')
const errors = require('./errors')

const PEERS_MAX = 1024
const PORT_MAX = 65535

/** What the addon calls: a function that promises a JSON text and never rejects; undefined if nothing is to be asked. */
function peersOf({ peers }) {
  if (typeof peers !== 'function') return undefined
  return async () => {
    try {
      return JSON.stringify({ peers: await given(peers) })
    } catch (error) {
      return JSON.stringify({ error: errors.messageOf(error) })
    }
  }
}

async function given(peers) {
  let addresses
  try {
    addresses = await peers()
  } catch (error) {
    throw new Error(`the function "channel.peers" threw: ${errors.messageOf(error)}`)
  }
  const fault = faultOfPeers(addresses)
  if (fault !== null) throw new Error(`the function "channel.peers" must return ${fault}`)
  return [...addresses]
}

/** The rule that the value violates, if it is not a list of addresses; null if it is one. */
function faultOfPeers(value) {
  if (!Array.isArray(value)) return 'an array of "host:port"'
  if (value.length > PEERS_MAX) return `at most ${PEERS_MAX} addresses, got ${value.length}`
  for (const [index, address] of value.entries()) {
    if (partsOf(address) === null) {
      return `an array of "host:port", got ${quoted(address)} at index ${index}`
    }
  }
  return null
}

/** Host and port of an address to connect to; null if it is none. */
function partsOf(address, portMin = 1) {
  if (typeof address !== 'string' || !address.isWellFormed() || address.length > 260) return null
  const parts = /^(?:\[([^\]]+)\]|([^:[\]/@\s]+)):(\d{1,5})$/.exec(address)
  if (parts === null) return null
  const [, bracketed, name, digits] = parts
  const port = Number(digits)
  if (port < portMin || port > PORT_MAX) return null
  if (bracketed !== undefined && isIP(bracketed) !== 6) return null
  return { host: bracketed ?? name, port }
}

/** The address to listen on as text for the addon; null if it is none. */
function listenOf(value) {
  if (Number.isInteger(value) && value >= 0 && value <= PORT_MAX) return `:${value}`
  if (typeof value !== 'string') return null
  const port = /^:(\d{1,5})$/.exec(value)
  if (port !== null) return Number(port[1]) <= PORT_MAX ? value : null
  const parts = partsOf(value, 0)
  return parts !== null && (parts.host === 'localhost' || isIP(parts.host) !== 0) ? value : null
}

function isUnspecified(host) {
  return /^(0\.0\.0\.0|[0:]+)$/.test(host)
}

function isLoopback(host) {
  return host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'))
}

function quoted(value) {
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 100)) : String(typeof value)
}

module.exports = { faultOfPeers, isLoopback, isUnspecified, listenOf, partsOf, peersOf, quoted }
