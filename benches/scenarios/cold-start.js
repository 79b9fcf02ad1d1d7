/** Measures the start of the last of three nodes until its first call is done. */
'use strict'

const { setTimeout: delay } = require('node:timers/promises')

module.exports = {
  name: 'cold-start',
  title: 'last node started → its first perform, Redis',
  peers: ['conflux', 'conflux-tcp', 'conflux-local', 'conflux-1'],
  unit: 'ms',
  cases: ({ isQuick }) => [{ title: '', rounds: isQuick ? 2 : 10, roundsOf: { 'conflux-1': 3 } }],
  measure: async ({ start }) => {
    const cluster = await start({ isLazy: true })
    const [last, ...others] = cluster.ids
    for (const id of others) await cluster.openOne(id)
    // They look for each other, and find that one is missing.
    await delay(500)
    return { took: await cluster.ask(last, 'coldStart'), cluster }
  }
}
