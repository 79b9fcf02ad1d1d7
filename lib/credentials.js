// Calls the application's functions for the username and the password of a Redis connection.
//
// Called by the native addon before every connect. It must never throw, and no secret is part of an error.

'use strict'

const errors = require('./errors')

/** What the addon calls: a function that promises a JSON text and never rejects; undefined if nothing is to be asked. */
function credentialsOf({ username, password }) {
  if (typeof username !== 'function' && typeof password !== 'function') return undefined
  return async () => {
    try {
      return JSON.stringify({
        username: await valueOf('username', username),
        password: await valueOf('password', password)
      })
    } catch (error) {
      return JSON.stringify({ error: errors.messageOf(error) })
    }
  }
}

async function valueOf(option, given) {
  if (typeof given !== 'function') return given
  let value
  try {
    value = await given()
  } catch (error) {
    throw new Error(`the function "channel.${option}" threw: ${errors.messageOf(error)}`)
  }
  if (typeof value === 'string' && value.isWellFormed()) return value
  throw new Error(`the function "channel.${option}" must return a string or a promise of one`)
}

module.exports = { credentialsOf }
