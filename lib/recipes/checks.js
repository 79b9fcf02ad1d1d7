// Checks what applications pass to the clients of recipes. Each message says what was expected, and what arrived.

'use strict'

const { Buffer } = require('../environment')
const errors = require('../errors')
const { kindOf, shown } = require('../kind')
const { suggestion } = require('../suggestion')

/** A name is part of the name of a timer, and of a message. */
const NAME_BYTES_MAX = 200

function name(what, value) {
  const isName = typeof value === 'string' && value !== '' && value.isWellFormed()
  if (isName && Buffer.byteLength(value) <= NAME_BYTES_MAX) return value
  const got = isName
    ? `one of ${Buffer.byteLength(value)} bytes`
    : value === ''
      ? 'an empty one'
      : kindOf(value)
  throw errors.invalidCall(
    `${what} must be a non-empty string of at most ${NAME_BYTES_MAX} bytes, got ${got}`
  )
}

/** `test` gives a rule that the value violates, or undefined. */
function options(what, given, tests) {
  if (given === undefined || given === null) return {}
  if (typeof given !== 'object' || Array.isArray(given)) {
    throw errors.invalidCall(`${what}: the options must be an object, got ${kindOf(given)}`)
  }
  const known = Object.keys(tests)
  const checked = {}
  for (const key of Object.keys(given)) {
    if (!known.includes(key))
      throw errors.invalidCall(`${what}: the option "${key}" is unknown${suggestion(key, known)}`)
    const value = given[key]
    if (value === undefined || value === null) continue
    const rule = tests[key](value)
    if (rule !== undefined) throw errors.invalidCall(`${what}: "${key}" must be ${rule}, got ${shown(value)}`)
    checked[key] = value
  }
  return checked
}

const boolean = value => (typeof value === 'boolean' ? undefined : 'true or false')

const text = value =>
  typeof value === 'string' && value !== '' && Buffer.byteLength(value) <= NAME_BYTES_MAX
    ? undefined
    : `a non-empty string of at most ${NAME_BYTES_MAX} bytes`

const integer = min => value =>
  Number.isSafeInteger(value) && value >= min ? undefined : `an integer, ${min} or more`

/** What setTimeout can count. */
const MILLISECONDS_MAX = 2147483647

const milliseconds = min => value =>
  typeof value === 'number' && value >= min && value <= MILLISECONDS_MAX
    ? undefined
    : `a number of milliseconds from ${min} to ${MILLISECONDS_MAX}`

const signal = value =>
  typeof value === 'object' &&
  typeof value.aborted === 'boolean' &&
  typeof value.addEventListener === 'function'
    ? undefined
    : 'an AbortSignal'

const oneOf =
  (...values) =>
  value =>
    values.includes(value) ? undefined : values.map(value => `"${value}"`).join(' or ')

module.exports = { boolean, integer, milliseconds, name, oneOf, options, signal, text }
