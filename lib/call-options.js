// Checks the options of a call, such as `{ timeout, signal }`.
//
// Called by handle.js and the parts that keep calls, before anything of the call has begun.

'use strict'

const errors = require('./errors')
const { shown } = require('./kind')
const { choice } = require('./suggestion')
const { isTimeout, faultOfTimeout } = require('./timeout')

const CLOSE_TIMEOUT_DEFAULT = 2000

const NONE = Object.freeze({})

const CHECKS = {
  timeout: value => (isTimeout(value) ? undefined : faultOfTimeout(value)),
  signal: value => (isSignal(value) ? undefined : `the signal must be an AbortSignal, got ${shown(value)}`),
  faultTolerance: value =>
    Number.isInteger(value) && value >= 0
      ? undefined
      : `"faultTolerance" must be an integer, 0 or more, got ${shown(value)}`,
  leave: value =>
    typeof value === 'boolean' ? undefined : `"leave" must be true or false, got ${shown(value)}`,
  from: value =>
    Number.isSafeInteger(value) && value > 0
      ? undefined
      : `"from" must be a positive integer, an index, got ${shown(value)}`,
  equals: value =>
    typeof value === 'function' ? undefined : `"equals" must be a function, got ${shown(value)}`
}

/**
 * The options that are given: each has the value that it may have; one that is null is not given.
 *
 * @param known the names of the options that the call has.
 * @param invalid makes the error.
 */
function callOptions(options, known, invalid = errors.invalidCall) {
  if (options === undefined || options === null) return NONE
  if (typeof options !== 'object' || Array.isArray(options)) {
    throw invalid(`the options must be an object such as { ${known[0]}: … }, got ${shown(options)}`)
  }
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) throw invalid(`the option "${key}" is unknown${choice(key, known)}`)
  }
  const checked = {}
  for (const name of known) {
    // Each is read once: it may be an accessor.
    const value = options[name]
    if (value === undefined || value === null) continue
    const fault = CHECKS[name](value)
    if (fault !== undefined) throw invalid(fault)
    checked[name] = value
  }
  return checked
}

/** Whether it is an AbortSignal, of any realm or library. */
function isSignal(value) {
  return (
    typeof value === 'object' &&
    typeof value.aborted === 'boolean' &&
    typeof value.addEventListener === 'function' &&
    typeof value.removeEventListener === 'function'
  )
}

/** A node without storage cannot return to its membership, and gives it up. */
function closeOptions(options, leaveDefault) {
  const { timeout = CLOSE_TIMEOUT_DEFAULT, leave = leaveDefault } = callOptions(
    options,
    ['timeout', 'leave'],
    errors.invalidArgument
  )
  return { timeout, leave }
}

module.exports = { callOptions, closeOptions }
