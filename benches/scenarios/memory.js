/** Measures the memory of an idle node, and of a call in flight. */
'use strict'

const { addedByIdleNode } = require('../memory')

const STRANDED = 30_000

module.exports = {
  name: 'memory',
  title: 'memory',
  peers: ['conflux', 'conflux-1'],
  unit: '',
  cases: () => [{ title: '', rounds: 1 }],
  measure: async ({ peer, start }) => {
    const figures = { 'an idle node adds (MB)': (await addedByIdleNode(peer.name)) / 1e6 }
    if (peer.name !== 'conflux') return figures
    // Without the others there is no quorum: calls wait, and can be weighed.
    const cluster = await start({ isLazy: true, execArgv: ['--expose-gc'] })
    const [id] = cluster.ids
    await cluster.openOne(id)
    const before = await cluster.ask(id, 'residentBytes')
    await cluster.ask(id, 'strand', { count: STRANDED })
    const after = await cluster.ask(id, 'residentBytes')
    return { ...figures, 'a call in flight adds (bytes)': (after - before) / STRANDED }
  }
}
