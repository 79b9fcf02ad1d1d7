/**
 * Measures how much memory an idle node adds to a bare Node process. Called by `bench.js`; run by itself
 * with a package's name, it is the process that is measured.
 */
'use strict'

const childProcess = require('node:child_process')
const { promisify } = require('node:util')

const execFile = promisify(childProcess.execFile)

const RUNS = 5

/** Bytes of resident memory: the median of some processes with a node, less the median of some without. */
async function addedByIdleNode(packageName) {
  return (await residentBytes(packageName)) - (await residentBytes('none'))
}

async function residentBytes(packageName) {
  const samples = await Promise.all(
    Array.from({ length: RUNS }, async () => {
      const { stdout } = await execFile(process.execPath, ['--expose-gc', __filename, packageName])
      return Number(stdout)
    })
  )
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

module.exports = { addedByIdleNode }

if (require.main === module) measureThisProcess(process.argv[2])
