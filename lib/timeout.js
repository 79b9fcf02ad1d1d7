// The rule for timeouts, shared by every call that takes one.

'use strict'

const { shown } = require('./kind')

/** What setTimeout can count (24.8 days); it would fire at once for more. */
const TIMEOUT_MAX = 2147483647

const isTimeout = value => typeof value === 'number' && value >= 0 && value <= TIMEOUT_MAX

/** Says what is wrong with a timeout that is none. */
const faultOfTimeout = value =>
  `the timeout must be a number of milliseconds from 0 to ${TIMEOUT_MAX}, got ${shown(value)}`

module.exports = { isTimeout, TIMEOUT_MAX, faultOfTimeout }
