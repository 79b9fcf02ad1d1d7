/**
 * Is `npm run bench:scale`: how cost grows with the size of the state, the number of stores and of members, and more.
 *
 * It prints a table for each curve, leaves every figure in bench-results/, and writes docs/scale.md with a chart for each
 * curve. `-- --help` lists the options.
 */
'use strict'

const fs = require('node:fs')
const path = require('node:path')
const { parseArgs } = require('node:util')

const { startRedisServer } = require('../scripts/redis-server')
const { Stop, build, install, main, root } = require('../scripts/steps')
const { assertDrawable } = require('./chart')
const { describe, machine } = require('./machine')
const { installPeers } = require('./packages')
const { CURVES } = require('./scale/curves')
const { measureCurve } = require('./scale/measure')
const { plainTable, writePage } = require('./scale/page')

const OPTIONS = {
  quick: { type: 'boolean', help: 'within two minutes: few sizes, short windows; writes no page' },
  only: {
    type: 'string',
    multiple: true,
    help: 'curves whose name contains this; may be repeated; writes no page'
  },
  list: { type: 'boolean', help: 'the curves' },
  'install-peers': { type: 'boolean', help: 'install what draws the charts, then go on' },
  from: { type: 'string', help: 'a file of bench-results/ to write the page from, instead of a run' },
  built: { type: 'boolean', help: 'the addon is built already' },
  help: { type: 'boolean', help: 'this' }
}

// An interrupted run ends its servers too: what ends them is registered on `exit`.
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1))

main(async () => {
  const { values: options } = parseArgs({ options: OPTIONS })
  if (options.help) return help()
  const words = options.only ?? ['']
  const curves = CURVES.filter(({ name }) => words.some(word => name.includes(word)))
  if (curves.length === 0) throw new Stop(`No curve is named like ${words.join(', ')}: \`-- --list\`.`)
  if (options.list) return curves.forEach(({ name, title }) => console.log(`${name.padEnd(16)}${title}`))

  const writes = options.from !== undefined || !(options.quick || options.only)
  if (options['install-peers']) await installPeers()
  if (writes) assertDrawable()
  const run = options.from
    ? JSON.parse(fs.readFileSync(options.from, 'utf8'))
    : await measure(options, curves)
  console.log(`\n${describe(run)}`)
  for (const curve of curves) {
    const points = run.points[curve.name] ?? []
    if (points.length > 0) console.log(`\n${curve.title}\n${plainTable(curve, points)}`)
  }
  if (writes) await writePage(run, curves)
  const failed = Object.values(run.points)
    .flat()
    .filter(point => point.failed)
  if (failed.length > 0) throw new Stop(`Measurements failed: ${JSON.stringify(failed)}`)
})

async function measure(options, curves) {
  await install()
  if (!options.built) await build()
  const start = Date.now()
  const redis = await startRedisServer()
  const settings = { isQuick: options.quick === true, redis, seconds: options.quick ? 0.7 : 2.5 }
  const points = {}
  try {
    for (const curve of curves) points[curve.name] = await measureCurve(curve, settings, progress)
  } finally {
    progress('')
    await redis.kill()
  }
  const run = {
    ...machine(),
    isQuick: settings.isQuick,
    tookSeconds: Math.round((Date.now() - start) / 1000),
    points
  }
  const file = path.join(root, 'bench-results', `scale-${run.date.replaceAll(':', '-')}.json`)
  fs.mkdirSync(path.dirname(file), { recursive: true })
  fs.writeFileSync(file, JSON.stringify(run, null, 2))
  console.log(`\nEvery figure: ${path.relative(root, file)} (${run.tookSeconds} s)`)
  return run
}

function help() {
  console.log('npm run bench:scale -- [options]\n')
  for (const [name, { help }] of Object.entries(OPTIONS)) console.log(`  --${name.padEnd(16)}${help}`)
}

function progress(text) {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`)
  else if (text) process.stderr.write(`${text}\n`)
}
