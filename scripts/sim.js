/**
 * Is `npm run sim`: it runs as many seeds of the simulations as you have time for, in parallel, and says how
 * to replay the one that fails.
 *
 *     npm run sim -- --seeds 50000 [--from 0] [--jobs 2] [--test simulation]
 *
 * `--test` is `simulation`, `churn`, `losses`, `steadiness` or `founding`; without it, each gets its share. It only starts
 * the test binary: what a seed does is decided in `src/raft/testing/`.
 */
'use strict'

const { spawn } = require('node:child_process')
const os = require('node:os')
const { parseArgs } = require('node:util')
const { Stop, buildTests, main, root } = require('./steps.js')

/**
 * How many of a thousand seeds each simulation gets; how many ticks of faults a seed has, and how many nodes at most,
 * where they can be lowered.
 */
const SIMULATIONS = {
  simulation: {
    path: 'raft::testing::simulation::simulation_keeps_every_promise_under_faults',
    share: 400,
    ticks: 600,
    nodes: 5
  },
  churn: {
    path: 'raft::testing::churn::churn_of_members_breaks_no_promise',
    share: 150,
    ticks: 1500,
    nodes: 5
  },
  losses: {
    path: 'raft::testing::losses::losses_of_quorums_end_in_one_cluster_that_has_what_was_kept',
    share: 150,
    ticks: 2500,
    nodes: 5
  },
  steadiness: {
    path: 'raft::testing::steadiness::steadiness_of_a_leader_that_keeps_a_majority',
    share: 150
  },
  founding: {
    path: 'raft::bootstrap::simulation::founding_ends_with_one_cluster_within_its_bound',
    share: 150
  }
}

/** One process runs so many seeds: few enough to show progress, enough that its start does not count. */
const CHUNK = 100
/** No chunk takes this long; one that does hangs. */
const CHUNK_MINUTES = 10

main(async () => {
  const options = readOptions()
  const binary = buildTests()
  const started = Date.now()
  const chunks = [...plan(options)]
  const total = chunks.reduce((sum, chunk) => sum + chunk.count, 0)
  const failures = []
  let done = 0
  let shownAt = 0

  async function work() {
    for (let chunk = chunks.shift(); chunk; chunk = chunks.shift()) {
      const failure = await runChunk(binary, chunk)
      if (failure) {
        failures.push(failure)
        console.log(`✗ ${failure.name}: seed ${failure.seed ?? '?'}`)
      }
      done += chunk.count
      if (Date.now() - shownAt > 10_000) {
        shownAt = Date.now()
        console.log(`  ${done} of ${total} seeds after ${seconds(started)} s, ${failures.length} failed`)
      }
    }
  }
  await Promise.all(Array.from({ length: options.jobs }, work))

  for (const failure of failures) await tell(binary, failure)
  const summary = Object.keys(SIMULATIONS)
    .map(name => [name, [...plan(options)].filter(chunk => chunk.name === name)])
    .filter(([, of]) => of.length > 0)
    .map(([name, of]) => `${name} ${of.reduce((sum, chunk) => sum + chunk.count, 0)}`)
  console.log(`${total} seeds (${summary.join(', ')}) in ${seconds(started)} s`)
  if (failures.length > 0) throw new Stop(`${failures.length} of the chunks above failed.`)
  console.log('✓ no promise was broken')
})

function readOptions() {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string', default: '2000' },
      from: { type: 'string', default: '0' },
      jobs: { type: 'string', default: String(os.availableParallelism()) },
      test: { type: 'string' }
    }
  })
  if (values.test !== undefined && !Object.hasOwn(SIMULATIONS, values.test)) {
    throw new Stop(`There is no simulation \`${values.test}\`: ${Object.keys(SIMULATIONS).join(', ')}.`)
  }
  const number = (name, least) => {
    const value = Number(values[name])
    if (!Number.isSafeInteger(value) || value < least) {
      throw new Stop(`\`--${name}\` is a whole number from ${least} on, not \`${values[name]}\`.`)
    }
    return value
  }
  return { seeds: number('seeds', 1), from: number('from', 0), jobs: number('jobs', 1), test: values.test }
}

/** What is run, cut into chunks: every simulation's range begins at `from`. */
function* plan({ seeds, from, test }) {
  for (const [name, { share }] of Object.entries(SIMULATIONS)) {
    if (test !== undefined && test !== name) continue
    const count = test ? seeds : Math.ceil((seeds * share) / 1000)
    for (let at = 0; at < count; at += CHUNK) {
      yield { name, from: from + at, count: Math.min(CHUNK, count - at) }
    }
  }
}

/** Runs a chunk; `undefined`, or the seed that failed. */
async function runChunk(binary, { name, from, count }) {
  const { code, text } = await runTest(binary, name, { CONFLUX_FROM: from, CONFLUX_SEEDS: count })
  if (code === 0) return undefined
  const seed = /CONFLUX_SEED=(\d+) fails/.exec(text)?.[1]
  return { name, seed: seed && Number(seed), text }
}

/** Says what failed, and how to replay the smallest run found that still does. */
async function tell(binary, { name, seed, text }) {
  console.log(`\n${text.slice(0, 4000)}`)
  if (seed === undefined) return
  const smallest = await shrink(binary, name, seed, text)
  const env = Object.entries(smallest).map(([key, value]) => `${key}=${value} `)
  console.log(`  replay: ${env.join('')}cargo test --lib ${SIMULATIONS[name].path} -- --exact --nocapture`)
  console.log('  with CONFLUX_TRACE=1 everything that happens is printed')
}

/**
 * Makes the run smaller as long as it fails: fewer ticks of faults, fewer kinds of them, fewer nodes, fewer that call,
 * and fewer ticks again.
 */
async function shrink(binary, name, seed, text) {
  let env = { CONFLUX_SEED: seed }
  const { ticks, nodes } = SIMULATIONS[name]
  const attempt = async change => {
    const smaller = { ...env, ...change }
    const { code } = await runTest(binary, name, smaller)
    if (code !== 0) env = smaller
    return code !== 0
  }
  const halveTicks = async () => {
    for (let low = 0, high = env.CONFLUX_TICKS ?? ticks; low < high;) {
      const middle = Math.floor((low + high) / 2)
      if (await attempt({ CONFLUX_TICKS: middle })) high = middle
      else low = middle + 1
    }
  }
  if (ticks === undefined) return env
  await halveTicks()
  const kinds = /CONFLUX_SEED=\d+ fails, with (\S+)/.exec(text)?.[1].split(',') ?? []
  const without = []
  for (const kind of kinds) {
    if (await attempt({ CONFLUX_WITHOUT: [...without, kind].join(',') })) without.push(kind)
  }
  for (const key of ['CONFLUX_NODES', 'CONFLUX_CLIENTS']) {
    for (
      let count = (env.CONFLUX_NODES ?? nodes) - 1;
      count > 0 && (await attempt({ [key]: count }));
      count--
    );
  }
  await halveTicks()
  return env
}

function runTest(binary, name, env) {
  return new Promise((resolve, reject) => {
    const child = spawn(binary, [SIMULATIONS[name].path, '--exact'], {
      cwd: root,
      env: {
        ...process.env,
        ...Object.fromEntries(Object.entries(env).map(([key, value]) => [key, String(value)]))
      }
    })
    let text = ''
    const limit = setTimeout(() => {
      text += `no end after ${CHUNK_MINUTES} minutes: ${JSON.stringify(env)}\n`
      child.kill('SIGKILL')
    }, CHUNK_MINUTES * 60_000)
    for (const stream of [child.stdout, child.stderr]) stream.on('data', data => (text += data))
    child.on('error', reject)
    child.on('close', code => {
      clearTimeout(limit)
      // A filter that names no test succeeds, too.
      if (code === 0 && !/1 passed/.test(text))
        reject(new Stop(`There is no test \`${SIMULATIONS[name].path}\`.`))
      else resolve({ code, text })
    })
  })
}

function seconds(since) {
  return Math.round((Date.now() - since) / 1000)
}
