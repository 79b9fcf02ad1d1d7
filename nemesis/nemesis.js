/**
 * Is `npm run nemesis`: clusters of OS processes over a real Redis or over direct connections, faults of every kind, and checkers that
 * hold every observation against what conflux promises.
 *
 *   npm run nemesis                              a short run: 3 processes in memory, 5 with disks
 *   npm run nemesis -- --long                    16 runs of 600 seconds
 *   npm run nemesis -- --seed 7 --faults kill,pause --nodes 3 --seconds 60
 *   npm run nemesis -- --channel tcp             over direct connections; or `local`
 *   npm run nemesis -- --workload locks --grants 1000000    locks, and what a lock promises; until there were so many grants
 *
 * What happened is in `nemesis-results/`; what passed leaves its report there, what failed everything.
 */
'use strict'

const fs = require('node:fs')
const path = require('node:path')
const { parseArgs } = require('node:util')

const { Stop, main, root } = require('../scripts/steps')
const { buildChecker } = require('./checks/linearizability')
const { missingCoverage } = require('./coverage')
const faults = require('./faults')
const { enterNamespace, isInNamespace, repeatInNamespace } = require('./namespace')
const { run } = require('./run')
const workloads = require('./workloads')
const { printReport, summarize } = require('./report')

const RESULTS = path.join(root, 'nemesis-results')

main(async () => {
  const options = readOptions()
  // Built out here: in there is no network.
  if (!isInNamespace() && options.workload === 'objects') await buildChecker()
  const code = await repeatInNamespace()
  if (code !== null) return void (process.exitCode = code)
  enterNamespace()
  const folder = path.join(RESULTS, `${new Date().toISOString().replaceAll(':', '-')}-seed-${options.seed}`)
  fs.mkdirSync(folder, { recursive: true })

  const plans = plansOf(options, folder)
  const possible = new Set()
  for (const plan of plans) plan.faults = possibleFaults(plan, options.faults, possible)
  const results = []
  for (const plan of plans) {
    console.log(`\n▸ ${plan.name}, seed ${plan.seed}`)
    const result = await run(plan, text => console.log(`  ${text}`))
    results.push({ ...result, plan })
    for (const anomaly of result.anomalies) console.log(`  ✗ ${anomaly}`)
    if (result.anomalies.length === 0) fs.rmSync(path.join(folder, plan.name), { recursive: true })
  }

  const missing = options.isCoverageWanted
    ? missingCoverage(
        [...possible],
        results.flatMap(({ strikes }) => strikes)
      )
    : []
  const summary = summarize({
    results,
    missing,
    skipped: skippedFaults(options.faults, possible, options.channel),
    options
  })
  fs.writeFileSync(path.join(folder, 'report.json'), `${JSON.stringify(summary, null, 2)}\n`)
  printReport(summary)
  if (!summary.hasPassed) {
    throw new Stop(`The nemesis found something: ${folder}. It is repeated by:\n  ${summary.command}`)
  }
})

function readOptions() {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string' },
      seconds: { type: 'string' },
      nodes: { type: 'string' },
      faults: { type: 'string' },
      storage: { type: 'string' },
      channel: { type: 'string', default: 'redis' },
      workload: { type: 'string', default: 'objects' },
      grants: { type: 'string' },
      clients: { type: 'string' },
      long: { type: 'boolean', default: false }
    }
  })
  const usual = faults.filter(({ isLong }) => values.long || !isLong)
  const names = values.faults?.split(',') ?? usual.map(({ name }) => name)
  const unknown = names.filter(name => !faults.some(fault => fault.name === name))
  if (unknown.length > 0) {
    throw new Stop(`Unknown faults: ${unknown}. There are: ${faults.map(({ name }) => name).join(', ')}.`)
  }
  const workload = oneOf(values.workload, 'workload', Object.keys(workloads))
  if (values.grants !== undefined && workload !== 'locks') throw new Stop('--grants needs --workload locks')
  return {
    seed: numberOf(values.seed, 'seed', 0) ?? Math.floor(Math.random() * 1e6),
    seconds: numberOf(values.seconds, 'seconds', 1),
    nodes: numberOf(values.nodes, 'nodes', 3),
    workload,
    grants: numberOf(values.grants, 'grants', 1),
    clients: numberOf(values.clients, 'clients', 1) ?? workloads[workload].clients,
    storage: oneOf(values.storage, 'storage', ['disk', 'memory']),
    channel: oneOf(values.channel, 'channel', ['redis', 'tcp', 'local']),
    faults: faults.filter(({ name }) => names.includes(name)),
    isEveryFault: values.faults === undefined,
    isLong: values.long,
    // Who picks asks a question of his own.
    isCoverageWanted: [values.faults, values.seconds, values.nodes, values.storage, values.grants].every(
      value => value === undefined
    )
  }
}

function numberOf(text, name, min) {
  if (text === undefined) return undefined
  const number = Number(text)
  if (!Number.isInteger(number) || number < min)
    throw new Stop(`--${name} wants an integer from ${min}: ${text}`)
  return number
}

function oneOf(text, name, choices) {
  if (text !== undefined && !choices.includes(text))
    throw new Stop(`--${name} wants one of: ${choices.join(', ')}`)
  return text
}

/** 3 in memory and 5 on disks; `--long` goes round all four kinds. */
function plansOf({ seed, seconds, nodes, storage, channel, workload, grants, clients, isLong }, folder) {
  const kinds = isLong
    ? [[3, false], [5, true], [5, false], [3, true]] // prettier-ignore
    : [[3, false], [5, true]] // prettier-ignore
  // What is fixed by hand leaves one kind.
  const count = isLong ? 16 : nodes === undefined && grants === undefined ? kinds.length : 1
  const plans = Array.from({ length: count }, (_, i) => {
    const [size, isDurable] = kinds[i % kinds.length]
    return {
      size: nodes ?? size,
      isDurable: storage === undefined ? isDurable : storage === 'disk',
      seconds: seconds ?? (isLong ? 600 : Infinity),
      rounds: seconds === undefined && grants === undefined && !isLong ? (isDurable ? 3 : 1) : Infinity,
      grants,
      workload,
      channel,
      seed: seed + i,
      clients,
      pause: workloads[workload].pause,
      folder
    }
  })
  return plans.map((plan, i) => ({
    ...plan,
    name: `${i + 1}-${plan.size}-nodes-${plan.channel}-${plan.isDurable ? 'disk' : 'memory'}`
  }))
}

function possibleFaults(plan, wanted, possible) {
  const fit = wanted.filter(fault => whyNot(fault, plan) === false)
  for (const fault of fit) possible.add(fault)
  if (fit.length === 0) throw new Stop(`None of these faults is possible with ${plan.name}.`)
  return fit
}

/** Why a run cannot have a fault; false if it can. */
function whyNot(fault, plan) {
  const { channels = ['redis', 'tcp', 'local'] } = fault
  if (!channels.includes(plan.channel)) return `not over ${plan.channel}`
  return fault.isImpossible?.(plan) || false
}

/** Those that no run could have, with the reason. */
function skippedFaults(wanted, possible, channel) {
  return wanted
    .filter(fault => !possible.has(fault))
    .map(fault => ({
      fault: fault.name,
      why: whyNot(fault, { isDurable: true, size: 5, channel }) || 'needs a disk'
    }))
}
