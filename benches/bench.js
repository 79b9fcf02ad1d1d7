/**
 * Is `npm run bench`: conflux beside its peers and beside the limits of the machine, in one run, in turns.
 *
 * It prints tables, leaves every figure in bench-results/, and fails if this tree lost or doubled an acknowledged
 * action. `-- --help` lists the options.
 */
'use strict'

const fs = require('node:fs')
const path = require('node:path')
const { parseArgs } = require('node:util')

const { startRedisServer } = require('../scripts/redis-server')
const { Stop, build, install, main, root } = require('../scripts/steps')
const { assertDrawable } = require('./chart')
const { writeDocs } = require('./docs')
const { describe, machine } = require('./machine')
const { installPeers } = require('./packages')
const { broken, isOurs, runScenario } = require('./run')
const { plain, sections } = require('./table')
const { targets } = require('./targets')

/** In the order of the tables' columns. */
const PEERS = [
  'conflux',
  'conflux-tcp',
  'conflux-local',
  'bare',
  'javascript',
  'incr',
  'conflux-1',
  'etcd',
  'nats',
  'zmq-raft',
  'set-nx',
  'redlock',
  'redlock-3'
]
const QUICK_PEERS = [
  'conflux',
  'conflux-tcp',
  'conflux-local',
  'bare',
  'javascript',
  'incr',
  'conflux-1',
  'set-nx'
]

/** What says most first: a run that is cut short has it. */
const SCENARIOS = [
  'latency-memory',
  'latency-redis',
  'throughput-redis',
  'throughput-memory',
  'durable',
  'failover',
  'cold-start',
  'long-life',
  'provisional',
  'sizes',
  'from-all',
  'locks',
  'payload',
  'state',
  'idle',
  'memory',
  'package',
  'reducer'
]

const OPTIONS = {
  quick: {
    type: 'boolean',
    help: 'about a minute instead of about ten: short windows, one round, fewer peers'
  },
  only: { type: 'string', multiple: true, help: 'scenarios whose name contains this; may be repeated' },
  list: { type: 'boolean', help: 'the scenarios and the peers' },
  'install-peers': { type: 'boolean', help: 'install what the peers need, then go on' },
  'write-docs': { type: 'boolean', help: 'write docs/performance.md and its chart from this run' },
  from: { type: 'string', help: 'a file of bench-results/ to print again, instead of a run' },
  built: { type: 'boolean', help: 'the addon is built already' },
  help: { type: 'boolean', help: 'this' }
}

// An interrupted run must end its servers too, which happens on `exit`.
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1))

main(async () => {
  const options = parse()
  if (options.help) return help()
  const words = options.only ?? ['']
  const names = SCENARIOS.filter(name => words.some(word => name.includes(word)))
  if (names.length === 0) throw new Stop(`No scenario is named like ${words.join(', ')}: \`-- --list\`.`)
  const scenarios = names.map(name => require(`./scenarios/${name}`))
  const peers = PEERS.map(name => require(`./peers/${name}`))
  if (options.list) return list(scenarios, peers)

  const run = options.from
    ? JSON.parse(fs.readFileSync(options.from, 'utf8'))
    : await measure(options, scenarios, peers)
  report(run, scenarios, peers)
  if (options['write-docs']) await writeDocs(run, scenarios, peers)
  const faults = broken(run.records)
  if (faults.length > 0)
    throw new Stop(`Acknowledged actions were lost or doubled: ${JSON.stringify(faults)}`)
  const failed = run.records.filter(({ peer, failed }) => isOurs(peer) && failed)
  if (failed.length > 0) throw new Stop(`Measurements of conflux failed: ${JSON.stringify(failed)}`)
})

function parse() {
  try {
    return parseArgs({ options: OPTIONS }).values
  } catch (error) {
    throw new Stop(`${error.message} \`npm run bench -- --help\` lists the options.`)
  }
}

async function measure(options, scenarios, allPeers) {
  await install()
  if (!options.built) await build()
  if (options['install-peers']) await installPeers()
  if (options['write-docs']) assertDrawable()

  const wanted = allPeers.filter(
    ({ name }) =>
      (!options.quick || QUICK_PEERS.includes(name)) && scenarios.some(({ peers }) => peers.includes(name))
  )
  const missing = Object.fromEntries(
    wanted.map(peer => [peer.name, peer.missing()]).filter(([, how]) => how !== undefined)
  )
  for (const [name, how] of Object.entries(missing)) console.log(`${name} is left out, not installed: ${how}`)
  const peers = wanted.filter(({ name }) => !missing[name])

  const start = Date.now()
  const redis = await startRedisServer()
  const settings = options.quick
    ? { isQuick: true, redis, seconds: 0.5, rounds: 1, repeatUntil: start + 60_000 }
    : { isQuick: false, redis, seconds: 2, rounds: 2, repeatUntil: start + 8 * 60_000 }
  const records = []
  try {
    for (const scenario of scenarios)
      records.push(...(await runScenario(scenario, peers, settings, progress)))
  } finally {
    progress('')
    await redis.kill()
  }
  const run = {
    ...machine(),
    isQuick: settings.isQuick,
    tookSeconds: Math.round((Date.now() - start) / 1000),
    missing,
    records
  }
  const file = save(run)
  console.log(`\nEvery figure: ${path.relative(root, file)} (${run.tookSeconds} s)`)
  return run
}

function save(run) {
  const folder = path.join(root, 'bench-results')
  fs.mkdirSync(folder, { recursive: true })
  const file = path.join(folder, `${run.date.replaceAll(':', '-')}.json`)
  fs.writeFileSync(file, JSON.stringify(run, null, 2))
  return file
}

function report(run, scenarios, peers) {
  console.log(`\n${describe(run)}`)
  console.log('In brackets: how many times better conflux is. Medians of the rounds.')
  for (const section of sections(scenarios, peers, run.records)) {
    console.log(`\n${section.title}\n${plain(section)}`)
  }
  const [head, ...rows] = targets(run.records)
  const known = rows.filter(row => row.at(-1) !== 'not measured')
  if (known.length > 0) console.log(`\nTargets\n${plain({ head, rows: known })}`)
  console.log('\nWhat each promises')
  for (const { name, title, promise } of peers) {
    if (run.records.some(({ peer }) => peer === name)) console.log(`  ${title}: ${promise}`)
  }
  const counted = run.records.filter(({ peer, ledger }) => peer === 'conflux' && ledger)
  const acknowledged = counted.reduce((sum, { ledger }) => sum + ledger.acknowledged, 0)
  const faults = broken(run.records).length
  console.log(
    `\nBooks of conflux: ${acknowledged.toLocaleString('en')} acknowledged in ${counted.length} clusters, ` +
      (faults === 0 ? 'each applied once on every node.' : `WRONG in ${faults} of them.`)
  )
  for (const { peer, scenario, case: title, ledger } of run.records) {
    if (peer === 'conflux' || !ledger || ledger.lost + ledger.doubled === 0) continue
    console.log(
      `  ${peer}, ${scenario} ${title}: ${ledger.lost} lost, ${ledger.doubled} doubled of ${ledger.acknowledged}`
    )
  }
}

function list(scenarios, peers) {
  for (const { name, title, peers } of scenarios)
    console.log(`${name.padEnd(18)}${title}\n${''.padEnd(18)}${peers.join(', ')}`)
  console.log()
  for (const { name, promise } of peers) console.log(`${name.padEnd(18)}${promise}`)
}

function help() {
  console.log('npm run bench -- [options]\n')
  for (const [name, { help }] of Object.entries(OPTIONS)) console.log(`  --${name.padEnd(16)}${help}`)
}

function progress(text) {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`)
  else if (text) process.stderr.write(`${text}\n`)
}
