/** Measures storage on disk beside none, and a sync of that disk beside both. */
'use strict'

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')

const { burst } = require('../throughput')

const SYNCS = 200

module.exports = {
  name: 'durable',
  title: 'storage, Redis, three processes (os.tmpdir())',
  peers: ['conflux'],
  unit: '',
  cases: () => [
    { title: 'memory', isDurable: false },
    { title: 'disk', isDurable: true }
  ],
  measure: async ({ which, start, seconds }) => {
    const cluster = await start({ isDurable: which.isDurable })
    const leader = await cluster.leader()
    await cluster.ask(leader, 'sequential', { seconds: seconds / 4 })
    const { p50 } = await cluster.ask(leader, 'sequential', { seconds })
    const perSecond = await burst(cluster, [leader], { inFlight: 3000, seconds })
    const figures = { 'sequential p50 (ms)': p50, '3,000 in flight (/s)': perSecond, cluster }
    return which.isDurable ? { ...figures, 'one fsync here, p50 (ms)': medianSync() } : figures
  }
}

/** Of 4 KiB appended to a file. */
function medianSync() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'conflux-bench-'))
  const file = fs.openSync(path.join(folder, 'file'), 'w')
  const times = Array.from({ length: SYNCS }, () => {
    const start = performance.now()
    fs.writeSync(file, Buffer.alloc(4096, 1))
    fs.fdatasyncSync(file)
    return performance.now() - start
  })
  fs.closeSync(file)
  fs.rmSync(folder, { recursive: true })
  return times.sort((a, b) => a - b)[SYNCS / 2]
}
