// The rule for timeouts, shared by every call that takes one.

'use strict'

/** What setTimeout can count (24.8 days); it would fire at once for more. */
const TIMEOUT_MAX = 2147483647

const isTimeout = value => typeof value === 'number' && value >= 0 && value <= TIMEOUT_MAX

const TIMEOUT_RULE = `the timeout must be a number of milliseconds from 0 to ${TIMEOUT_MAX}`

module.exports = { isTimeout, TIMEOUT_MAX, TIMEOUT_RULE }
