// What the native addon asks while it connects: credentials or addresses.

'use strict'

const { credentialsOf } = require('./credentials')
const { peersOf } = require('./peers')

/** A function that promises a JSON text and never rejects; undefined if nothing is to be asked. */
function askedOf(channel) {
  return credentialsOf(channel) ?? peersOf(channel)
}

module.exports = { askedOf }
