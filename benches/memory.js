/**
 * This file measures how much memory a node at rest adds to a bare Node process. Called by `bench.js`; run by itself
 * with a package's name, it is the process that is measured.
 */
'use strict'

const { spawnSync } = require('node:child_process')

const RUNS = 5

/** Bytes of resident memory, the median of some processes with a node less the median of some without. */
function addedByNodeAtRest(packageName) {
  return residentBytes(packageName) - residentBytes('none')
}

function residentBytes(packageName) {
  const samples = Array.from({ length: RUNS }, () => {
    const { stdout, status } = spawnSync(process.execPath, ['--expose-gc', __filename, packageName], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit']
    })
    if (status !== 0) throw new Error(`measuring the memory of ${packageName}: exit code ${status}`)
    return Number(stdout)
  })
  return samples.sort((a, b) => a - b)[Math.floor(RUNS / 2)]
}

async function measureThisProcess(packageName) {
  if (packageName !== 'none') {
    const conflux = require(packageName === 'conflux' ? '..' : packageName)
    conflux({
      id: 'a',
      clusterSize: 1,
      channel: { name: 'memory' },
      methods: { append: thing => thing },
      reduce: (state = null) => state
    })
  }
  // At rest: after the founding, and after what was needed for loading is collected.
  await new Promise(resolve => setTimeout(resolve, 1500))
  global.gc()
  await new Promise(resolve => setTimeout(resolve, 200))
  process.stdout.write(String(process.memoryUsage.rss()), () => process.exit())
}

module.exports = { addedByNodeAtRest }

if (require.main === module) measureThisProcess(process.argv[2])
