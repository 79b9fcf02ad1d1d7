// Calls the application's functions for the username and the password of a Redis connection.
//
// Called by the native addon before every connect. It must never throw, and no secret is part of an error.

'use strict'

const { randomUUID } = require('node:crypto')
const errors = require('./errors')

/** A name for each function, unique among all threads of the process. */
const names = new WeakMap()

/**
 * A text that is equal only for the same functions, so that nodes share connections only if they log in alike;
 * undefined if there are none. A value beside a function is part of the text.
 */
function credentialsIdentity({ username, password }) {
  if (typeof username !== 'function' && typeof password !== 'function') return undefined
  return JSON.stringify([identityOf(username), identityOf(password)])
}

function identityOf(given) {
  if (typeof given !== 'function') return { value: given }
  if (!names.has(given)) names.set(given, randomUUID())
  return { function: names.get(given) }
}

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

module.exports = { credentialsIdentity, credentialsOf }
