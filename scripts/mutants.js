/**
 * `npm run mutants`: puts faults into a copy of the core, one at a time, runs the Rust tests, and
 * says which faults no test notices.
 *
 * The copy is built once with all mutations (mutants/); the environment switches one on. A mutation that no test reaches
 * is a survivor at once. The others meet the tests in stages, the quick ones first. The tests that put known bugs back
 * and those of the project's structure are left out: they would notice any change.
 */
'use strict'

const { spawn, spawnSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const { parseArgs } = require('node:util')

const { Stop, main, root } = require('./steps')

const folder = path.join(root, 'target', 'mutants')
const tree = path.join(folder, 'tree')

/** What the tests of a stage get, and for how long they may run; `skips` are parts of tests' names. */
const NEVER = ['bug_of', 'tidy::', 'survey']
const SLOW = [
  'testing::churn',
  'testing::losses',
  'testing::steadiness',
  'testing::simulation',
  'exploration',
  'founding_'
]
const STAGES = [
  { name: 'units, scripts and stories', skips: [...NEVER, ...SLOW], seeds: '3', seconds: 60 },
  { name: 'some seeds of each simulation', skips: NEVER, seeds: '20', states: '2000', seconds: 120 },
  { name: 'more seeds', skips: NEVER, seeds: '100', states: '20000', seconds: 600 }
]

/** Runs with one thread, and so after the tests whose names come before it. */
const LAST_TEST = `
#[cfg(test)]
mod zz_last {
    #[test]
    fn the_reached_mutations_are_written() {
        crate::mutants::write_reached();
    }
}
`

const USAGE = `npm run mutants -- [options]
  --count 80        so many mutations, drawn by the seed; default: all
  --seed 1          what is drawn
  --only node/      those in files whose path contains this
  --number 17       this one, with the output of the tests
  --jobs 2          so many at once
  --list            lists them, and runs nothing`

main(async () => {
  const { values } = readOptions()
  const { binary, mutations } = prepare()
  const reached = reachedBy(binary)
  const chosen = choose(mutations, values)
  if (values.list) {
    for (const mutation of chosen) console.log(describe(mutation))
    return
  }
  const results = await judgeAll(binary, chosen, reached, values)
  report(results)
})

function readOptions() {
  try {
    return parseArgs({
      options: {
        count: { type: 'string' },
        seed: { type: 'string', default: '1' },
        only: { type: 'string', default: '' },
        number: { type: 'string' },
        jobs: { type: 'string', default: '2' },
        list: { type: 'boolean', default: false }
      }
    })
  } catch (error) {
    throw new Stop(`${error.message}\n${USAGE}`)
  }
}

// How the build is made.

/** The sources of the core that are in a build which is shipped. */
function sources() {
  const { stdout } = run('git', ['ls-files', 'src/raft', 'src/channel', 'src/storage', 'src/driver'], {
    cwd: root
  })
  const isOfTests = /testing|scripts|\/tests|tests\.rs$|simulation|inspection|fuzzing|mistakes|injected/
  return stdout.split('\n').filter(file => file.endsWith('.rs') && !isOfTests.test(file))
}

function prepare() {
  const tool = path.join(root, 'mutants')
  run('cargo', ['build', '--release', '--locked', '--manifest-path', path.join(tool, 'Cargo.toml')], {
    env: { ...process.env, CARGO_TARGET_DIR: path.join(folder, 'tool') }
  })
  const without = new Set()
  for (;;) {
    const mutations = mutate(tool, without)
    const { binary, broken } = build(mutations, without)
    if (binary !== undefined) {
      console.log(
        `${mutations.length - without.size} mutations in one build; ${without.size} more do not compile`
      )
      return { binary, mutations: mutations.filter(({ number }) => !without.has(number)) }
    }
    for (const number of broken) without.add(number)
  }
}

/** Copies the sources, and mutates them all but for some. */
function mutate(tool, without) {
  fs.rmSync(tree, { recursive: true, force: true })
  const { stdout } = run(
    'git',
    ['ls-files', 'src', 'Cargo.toml', 'Cargo.lock', 'build.rs', 'benches/*.rs', 'lib'],
    {
      cwd: root
    }
  )
  for (const file of stdout.trim().split('\n')) {
    fs.mkdirSync(path.dirname(path.join(tree, file)), { recursive: true })
    fs.copyFileSync(path.join(root, file), path.join(tree, file))
  }
  const mutant = path.join(folder, 'tool', 'release', 'conflux-mutants')
  const { stdout: list } = run(mutant, [[...without].join(','), ...sources()], { cwd: tree })
  fs.copyFileSync(path.join(tool, 'runtime.rs'), path.join(tree, 'src', 'mutants.rs'))
  const library = path.join(tree, 'src', 'lib.rs')
  fs.writeFileSync(library, `${fs.readFileSync(library, 'utf8')}\nmod mutants;\n${LAST_TEST}`)
  return list
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
}

/** The test binary; or which mutations do not compile. */
function build(mutations, without) {
  const args = ['test', '--lib', '--no-run', '--locked', '--message-format=json']
  const env = { ...process.env, CARGO_TARGET_DIR: path.join(folder, 'target'), RUSTFLAGS: '-A warnings' }
  const { stdout, stderr } = spawnSync('cargo', args, {
    cwd: tree,
    env,
    encoding: 'utf8',
    maxBuffer: 2 ** 30
  })
  const messages = stdout
    .split('\n')
    .filter(Boolean)
    .map(line => JSON.parse(line))
  const binary = messages.find(({ executable, profile }) => executable && profile.test)?.executable
  if (binary) return { binary }
  const broken = new Set()
  const errors = messages.filter(({ message }) => message?.level === 'error').map(({ message }) => message)
  for (const { spans } of errors) {
    for (const one of culprits(spans, mutations, without)) broken.add(one.number)
  }
  if (broken.size === 0) {
    const why = errors.map(({ rendered }) => rendered).join('') || stderr
    throw new Stop(`The mutated sources do not compile:\n${why}`)
  }
  return { broken }
}

/** So many lines before the place of an error its cause may be. */
const LINES_BEFORE = 12

/** The mutations at the place of an error; else at the places that it refers to; else the last ones before it. */
function culprits(spans, mutations, without) {
  const left = mutations.filter(({ number }) => !without.has(number))
  for (const isPrimary of [true, false]) {
    const at = spans
      .filter(span => span.is_primary === isPrimary)
      .flatMap(span =>
        left.filter(
          one => one.file === span.file_name && one.line <= span.line_end && span.line_start <= one.end
        )
      )
    // Of several around one place, those around the least.
    const least = Math.min(...at.map(one => one.end - one.line))
    if (at.length > 0) return at.filter(one => one.end - one.line === least)
  }
  const span = spans.find(span => span.is_primary)
  if (span === undefined) return []
  const before = left.filter(
    one =>
      one.file === span.file_name && one.end < span.line_start && span.line_start - one.end <= LINES_BEFORE
  )
  const last = Math.max(...before.map(one => one.end))
  return before.filter(one => one.end === last)
}

// How a mutation is judged.

/** The numbers of the mutations that the longest stage reaches. */
function reachedBy(binary) {
  const file = path.join(folder, 'reached')
  const { status, output } = test(
    binary,
    STAGES.at(-1),
    { CONFLUX_REACHED: file, RUST_TEST_THREADS: '1' },
    3600
  )
  if (status !== 0) throw new Stop(`The tests fail without a mutation:\n${output.slice(-4000)}`)
  return new Set(fs.readFileSync(file, 'utf8').split('\n').map(Number))
}

function choose(mutations, { count, seed, only, number }) {
  if (number !== undefined) return mutations.filter(one => one.number === Number(number))
  const those = mutations.filter(({ file }) => file.includes(only))
  if (count === undefined) return those
  // A generator that gives the same draw everywhere (mulberry32).
  let state = Number(seed) >>> 0
  const random = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const drawn = those.map(one => ({ one, at: random() })).sort((a, b) => a.at - b.at)
  return drawn.slice(0, Number(count)).map(({ one }) => one)
}

async function judgeAll(binary, chosen, reached, { jobs, number }) {
  const results = []
  const queue = [...chosen]
  const work = async () => {
    for (let mutation = queue.shift(); mutation !== undefined; mutation = queue.shift()) {
      const result = reached.has(mutation.number)
        ? await judge(binary, mutation, number !== undefined)
        : { by: undefined, note: 'never reached' }
      results.push({ mutation, ...result })
      const verdict = result.by === undefined ? `SURVIVES (${result.note})` : `noticed by ${result.by}`
      console.log(`${results.length} of ${chosen.length}: ${describe(mutation)}: ${verdict}`)
    }
  }
  await Promise.all(Array.from({ length: Number(jobs) }, work))
  return results
}

async function judge(binary, { number }, isShown) {
  for (const stage of STAGES) {
    const { status, output } = await testLater(binary, stage, { CONFLUX_MUTANT: String(number) })
    if (isShown) console.log(output)
    if (status === 0) continue
    const failed = /^test (\S+) \.\.\. FAILED$/m.exec(output)?.[1]
    return { by: failed ?? `${stage.name}: ${status === null ? 'no end' : 'a crash'}` }
  }
  return { by: undefined, note: 'every test passes' }
}

function testArguments({ skips }) {
  return skips.flatMap(skip => ['--skip', skip])
}

function testEnvironment({ seeds, states }, env) {
  return {
    ...process.env,
    CONFLUX_SEEDS: seeds,
    ...(states && { CONFLUX_STATES: states }),
    RUST_BACKTRACE: '0',
    ...env
  }
}

function test(binary, stage, env, seconds) {
  const { status, stdout } = spawnSync(binary, testArguments(stage), {
    cwd: tree,
    env: testEnvironment(stage, env),
    encoding: 'utf8',
    timeout: seconds * 1000,
    maxBuffer: 2 ** 30
  })
  return { status, output: stdout }
}

function testLater(binary, stage, env) {
  return new Promise(resolve => {
    const child = spawn(binary, testArguments(stage), {
      cwd: tree,
      env: testEnvironment(stage, { RUST_TEST_THREADS: '1', ...env }),
      stdio: ['ignore', 'pipe', 'ignore']
    })
    let output = ''
    const stop = setTimeout(() => child.kill('SIGKILL'), stage.seconds * 1000)
    child.stdout.setEncoding('utf8').on('data', text => {
      output += text
      // One is enough; the others may take long.
      if (text.includes('... FAILED') || output.includes('... FAILED\n')) child.kill('SIGKILL')
    })
    child.on('close', status => {
      clearTimeout(stop)
      resolve({ status, output })
    })
  })
}

// What is printed.

function describe({ number, file, line, function: name, what }) {
  return `${number} ${file}:${line} ${name}: ${what}`
}

function report(results) {
  const folders = new Map()
  for (const { mutation, by } of results) {
    const name = path.dirname(mutation.file)
    const score = folders.get(name) ?? { noticed: 0, all: 0 }
    score.all++
    if (by !== undefined) score.noticed++
    folders.set(name, score)
  }
  console.log('\nNoticed, by folder:')
  for (const [name, { noticed, all }] of [...folders].sort()) console.log(`  ${name}: ${noticed} of ${all}`)
  const noticed = results.filter(({ by }) => by !== undefined).length
  console.log(`${noticed} of ${results.length} (${((100 * noticed) / results.length).toFixed(1)} %)`)
}

function run(command, args, options) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    encoding: 'utf8',
    maxBuffer: 2 ** 30,
    ...options
  })
  if (status !== 0)
    throw new Stop(`\`${command} ${args[0]}\` failed: ${error?.message ?? stderr.slice(-4000)}`)
  return { stdout }
}
