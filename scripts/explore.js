/**
 * Is `npm run explore`: it takes the core through every order of a few events, scenario by scenario, in
 * parallel, and prints what breaks a promise as a golden script.
 *
 *     npm run explore -- [--states 1000000] [--jobs 2] [--scenario removed]
 *
 * `--states` is how many distinct states of each scenario are visited; `--scenario` is a part of the names of those
 * that are explored. It only starts the test binary: what happens in it is decided in `src/raft/testing/exploration/`.
 */
'use strict'

const { spawn } = require('node:child_process')
const os = require('node:os')
const { parseArgs } = require('node:util')
const { Stop, buildTests, main, root } = require('./steps.js')

const TEST = 'raft::testing::exploration::tests::exploration_of_every_scenario_breaks_no_promise'

main(async () => {
  const options = readOptions()
  const binary = buildTests()
  const started = Date.now()
  const scenarios = (await listScenarios(binary)).filter(({ name }) => name.includes(options.scenario))
  if (scenarios.length === 0)
    throw new Stop(`There is no scenario whose name contains \`${options.scenario}\`.`)
  const waiting = [...scenarios]
  let failed = 0

  async function work() {
    for (let scenario = waiting.shift(); scenario; scenario = waiting.shift()) {
      const env = { CONFLUX_SEED: scenario.number, CONFLUX_STATES: options.states }
      const { code, text } = await run(binary, env)
      if (code !== 0) failed++
      console.log(code === 0 ? `✓ ${/^explored (.*)$/m.exec(text)[1]}` : `✗ ${scenario.name}\n${text}`)
    }
  }
  await Promise.all(Array.from({ length: options.jobs }, work))

  console.log(`${scenarios.length} scenarios in ${Math.round((Date.now() - started) / 1000)} s`)
  if (failed > 0) throw new Stop(`${failed} of them break a promise.`)
  console.log('✓ no promise was broken')
})

function readOptions() {
  const { values } = parseArgs({
    options: {
      states: { type: 'string', default: '1000000' },
      jobs: { type: 'string', default: String(os.availableParallelism()) },
      scenario: { type: 'string', default: '' }
    }
  })
  const number = name => {
    const value = Number(values[name])
    if (!Number.isSafeInteger(value) || value < 1) {
      throw new Stop(`\`--${name}\` is a whole number from 1 on, not \`${values[name]}\`.`)
    }
    return value
  }
  return { states: number('states'), jobs: number('jobs'), scenario: values.scenario }
}

/** The scenarios, as the test names them. */
async function listScenarios(binary) {
  const { text } = await run(binary, { CONFLUX_SEEDS: 0 })
  const lines = [...text.matchAll(/^scenario (\d+): (.*)$/gm)]
  if (lines.length === 0) throw new Stop(`The test \`${TEST}\` named no scenario:\n${text}`)
  return lines.map(([, number, name]) => ({ number: Number(number), name }))
}

/** Runs the test; its exit code, and what it printed. */
function run(binary, env) {
  return new Promise((resolve, reject) => {
    const child = spawn(binary, [TEST, '--exact', '--nocapture'], {
      cwd: root,
      env: {
        ...process.env,
        ...Object.fromEntries(Object.entries(env).map(([key, value]) => [key, String(value)]))
      }
    })
    let text = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', data => (text += data))
    child.on('error', reject)
    child.on('close', code => resolve({ code, text }))
  })
}
