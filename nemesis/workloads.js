/**
 * Lists what the processes under test can do: the program, its options, and the checks of what it wrote.
 *
 * Used by `nemesis.js` and `run.js`.
 */
'use strict'

const { checkLinearizability } = require('./checks/linearizability')
const { checkLocks } = require('./checks/locks')
const { checkOrder } = require('./checks/order')
const { readHistory } = require('./history')

/** Milliseconds: shorter than most pauses and cuts. */
const SESSION_TIMEOUT_MS = 2000

const objects = {
  program: 'process.js',
  clients: 8,
  pause: 10,
  // Often enough for faults to hit one.
  options: { snapshot: { entries: 500 } },
  async check({ folder }) {
    const history = readHistory(folder)
    const order = checkOrder(history)
    const objects = await checkLinearizability(history, folder)
    return {
      anomalies: [...order.anomalies, ...objects.anomalies],
      numbers: { ...order.numbers, ...objects.numbers }
    }
  }
}

const locks = {
  program: 'lock-process.js',
  clients: 240,
  pause: 0,
  options: { sessions: { timeout: SESSION_TIMEOUT_MS } },
  check: run => checkLocks({ ...run, sessionTimeoutMs: SESSION_TIMEOUT_MS })
}

module.exports = { locks, objects }
