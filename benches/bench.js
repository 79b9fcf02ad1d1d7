/**
 * This file is `npm run bench`: conflux 1.1.8 beside this tree, in one run on one machine, in turns (A B A B).
 *
 * `-- --quick` takes about a minute. It prints a table and leaves every figure in bench-results/. It fails if this
 * tree lost or doubled an acknowledged action.
 */
'use strict'

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')

const { startRedisServer } = require('../scripts/redis-server')
const { Stop, build, install, main, manifest, root } = require('../scripts/steps')
const { addedByNodeAtRest } = require('./memory')
const { measureLatency, measureThroughput } = require('./scenarios')
const { table } = require('./table')

const PACKAGES = ['conflux-1', 'conflux']
const IN_FLIGHT = [100, 1000, 3000]

main(async () => {
  const isQuick = process.argv.includes('--quick')
  const rounds = isQuick ? 1 : 2
  const seconds = isQuick ? 0.5 : 5
  await install()
  await build()

  const redis = await startRedisServer()
  const results = []
  try {
    for (const channel of ['memory', 'redis']) {
      for (let round = 0; round < rounds; round++) {
        const run = async (measure, options) => {
          for (const packageName of PACKAGES) {
            const setting = { packageName, channel, redisUrl: redis.url, seconds, ...options }
            const what = options.inFlight ? `${options.inFlight} in flight` : 'one at a time'
            progress(`${channel}, round ${round + 1} of ${rounds}, ${what}: ${packageName}`)
            results.push({ packageName, channel, ...options, ...(await measure(setting)) })
          }
        }
        await run(measureLatency, {})
        for (const inFlight of IN_FLIGHT) await run(measureThroughput, { inFlight })
      }
    }
    progress('memory of a node at rest')
    const memory = {}
    for (const name of PACKAGES) memory[name] = await addedByNodeAtRest(name)
    progress('')
    report({ results, memory, isQuick })
  } finally {
    await redis.kill()
  }
})

function report({ results, memory, isQuick }) {
  const machine = `${os.cpus().length} × ${os.cpus()[0].model.trim()}, ${os.type()} ${os.release()}`
  console.log(`\nconflux 1.1.8 beside ${manifest.version}; Node ${process.versions.node}, ${machine}\n`)
  console.log(table(results, memory))

  const folder = path.join(root, 'bench-results')
  fs.mkdirSync(folder, { recursive: true })
  const file = path.join(folder, `${new Date().toISOString().replaceAll(':', '-')}.json`)
  fs.writeFileSync(
    file,
    JSON.stringify({ machine, node: process.versions.node, isQuick, results, memory }, null, 2)
  )
  console.log(`\nEvery figure: ${path.relative(root, file)}`)

  const broken = results.filter(
    ({ packageName, lost, doubled }) => packageName === 'conflux' && lost + doubled > 0
  )
  if (broken.length > 0)
    throw new Stop(`Acknowledged actions were lost or doubled: ${JSON.stringify(broken)}`)
}

function progress(text) {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`)
  else if (text) process.stderr.write(`${text}\n`)
}
