/**
 * Makes the report of a nemesis: a table for people, and the same as an object for the file.
 *
 * Called by `nemesis.js`.
 */
'use strict'

const os = require('node:os')

const REPEATABLE = ['workload', 'grants', 'channel', 'nodes', 'seconds', 'storage', 'clients']

function summarize({ results, missing, skipped, options }) {
  const strikes = results.flatMap(({ strikes }) => strikes)
  const names = [...new Set(strikes.map(({ fault }) => fault))].sort()
  const anomalies = results.flatMap(({ anomalies, plan }) => anomalies.map(text => `${plan.name}: ${text}`))
  return {
    date: new Date().toISOString(),
    machine: `${os.cpus().length} × ${os.cpus()[0]?.model}, Linux ${os.release()}, Node ${process.versions.node}`,
    command: commandOf(options),
    hasPassed: anomalies.length === 0 && missing.length === 0,
    anomalies,
    missing,
    skipped,
    faults: names.map(name =>
      summarizeFault(
        name,
        strikes.filter(({ fault }) => fault === name)
      )
    ),
    runs: results.map(({ plan, numbers, strikes, seconds }) => ({
      name: plan.name,
      seed: plan.seed,
      seconds: Math.round(seconds),
      strikes: strikes.length,
      ...numbers
    }))
  }
}

function summarizeFault(fault, strikes) {
  // Of two that come together it is unknown which one was waited for.
  const alone = strikes.filter(({ mixedWith }) => !mixedWith)
  const most = key => Math.max(0, ...alone.map(strike => strike[key]))
  return {
    fault,
    times: strikes.length,
    mixed: strikes.length - alone.length,
    electionsMax: most('elections'),
    wholeAfterMsMax: most('wholeAfter'),
    servesAfterMsMax: most('servesAfter')
  }
}

function commandOf(options) {
  const given = REPEATABLE.filter(name => options[name] !== undefined).map(
    name => `--${name} ${options[name]}`
  )
  const names = options.isCoverageWanted
    ? []
    : [`--faults ${options.faults.map(({ name }) => name).join(',')}`]
  const long = options.isLong ? ['--long'] : []
  return ['npm run nemesis --', `--seed ${options.seed}`, ...given, ...names, ...long].join(' ')
}

function printReport({ date, machine, command, faults, runs, missing, skipped, anomalies, hasPassed }) {
  console.log(`\n${command}\n${machine}, ${date}\n`)
  console.table(faults)
  console.table(runs)
  for (const { fault, why } of skipped) console.log(`skipped: ${fault}: ${why}`)
  for (const text of missing) console.log(`✗ coverage: ${text}`)
  for (const text of anomalies) console.log(`✗ ${text}`)
  if (hasPassed) console.log('✓ 0 anomalies')
}

module.exports = { printReport, summarize }
