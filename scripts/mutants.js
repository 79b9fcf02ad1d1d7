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
const { createHash } = require('node:crypto')
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

/** So many lines before the place of an error its cause may be. */
const LINES_BEFORE = 12

/** Something is used although it was moved, is borrowed, or has no value. */
const OF_BORROWS = ['E0381', 'E0382', 'E0384', 'E0499', 'E0502', 'E0503', 'E0505', 'E0506']

const USAGE = `npm run mutants -- [options]
  --count 80        so many mutations, drawn by the seed; default: all
  --seed 1          what is drawn
  --only node/      those in files whose path contains this
  --number 17       this one, with the output of the tests
  --jobs 2          so many at once
  --list            lists them, and runs nothing`

main(async () => {
  const { values } = readOptions()
  const { binary, mutations, reached } = prepare()
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
  const { stdout } = run('git', [
    'ls-files',
    'src/raft',
    'src/channel',
    'src/storage',
    'src/driver',
    'src/driver.rs'
  ])
  const isOfTests =
    /testing|scripts|\/tests|tests\.rs$|simulation|inspection|fuzzing|injected|contract|outages|deployments|server\.rs/
  return stdout.split('\n').filter(file => file.endsWith('.rs') && !isOfTests.test(file))
}

/** The test binary of the mutated copy, its mutations, and which of them the tests reach; as it was left, if nothing has changed. */
function prepare() {
  const tool = path.join(root, 'mutants')
  const programs = path.join(folder, 'tool')
  run('cargo', [
    'build',
    '--locked',
    '--manifest-path',
    path.join(tool, 'Cargo.toml'),
    '--target-dir',
    programs
  ])
  const mutant = path.join(programs, 'debug', 'conflux-mutants')

  const sum = createHash('sha256').update(JSON.stringify(STAGES.at(-1)))
  for (const file of [...copied(), 'mutants/runtime.rs', 'mutants/src/main.rs', 'mutants/src/sites.rs']) {
    sum.update(file).update(fs.readFileSync(path.join(root, file)))
  }
  const sourcesHash = sum.digest('hex')
  const record = path.join(folder, 'build.json')
  if (fs.existsSync(record)) {
    const former = JSON.parse(fs.readFileSync(record, 'utf8'))
    if (former.sourcesHash === sourcesHash && fs.existsSync(former.binary)) return former
  }

  const { binary, mutations } = compile(mutant)
  const built = { sourcesHash, binary, mutations, reached: reachedBy(binary) }
  fs.writeFileSync(record, JSON.stringify(built))
  return built
}

/** Builds the copy again and again, each time without the mutations that the compiler has refused so far. */
function compile(mutant) {
  const without = new Set()
  for (;;) {
    const started = Date.now()
    const mutations = mutate(mutant, without)
    const { binary, broken } = build(mutations, without)
    const seconds = ((Date.now() - started) / 1000).toFixed(0)
    if (binary !== undefined) {
      const left = mutations.filter(({ number }) => !without.has(number))
      console.log(
        `${left.length} mutations in one build, after ${seconds} s; ${without.size} more do not compile`
      )
      return { binary, mutations: left }
    }
    for (const number of broken) without.add(number)
    console.log(`${broken.size} mutations do not compile (${seconds} s)`)
  }
}

/** The files that the copy consists of. */
function copied() {
  const { stdout } = run('git', [
    'ls-files',
    'src',
    'Cargo.toml',
    'Cargo.lock',
    'build.rs',
    'benches/*.rs',
    'lib'
  ])
  return stdout.trim().split('\n')
}

/** Copies the sources, and mutates them all but for some. */
function mutate(mutant, without) {
  fs.rmSync(tree, { recursive: true, force: true })
  for (const file of copied()) {
    fs.mkdirSync(path.dirname(path.join(tree, file)), { recursive: true })
    fs.copyFileSync(path.join(root, file), path.join(tree, file))
  }
  const { stdout: list } = run(mutant, [[...without].join(','), ...sources()], { cwd: tree })
  fs.copyFileSync(path.join(root, 'mutants', 'runtime.rs'), path.join(tree, 'src', 'mutants.rs'))
  const library = path.join(tree, 'src', 'lib.rs')
  // In the first line: no line of the sources may move.
  const text = `#![allow(warnings)] ${fs.readFileSync(library, 'utf8')}\nmod mutants;\n${LAST_TEST}`
  fs.writeFileSync(library, text)
  return list
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
}

/**
 * The test binary; or which mutations do not compile. The compiler reports all errors of a crate before it generates
 * code, so a build that fails takes as long as a check. The dependencies are those of the project's own tests.
 */
function build(mutations, without) {
  const args = ['test', '--lib', '--no-run', '--locked', '--message-format=json']
  const env = { ...process.env, CARGO_TARGET_DIR: path.join(root, 'target'), CARGO_INCREMENTAL: '0' }
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
  for (const error of errors) {
    for (const one of culprits(error, mutations, without)) broken.add(one.number)
  }
  if (broken.size === 0) {
    const why = errors.map(({ rendered }) => rendered).join('') || stderr
    throw new Stop(`The mutated sources do not compile:\n${why}`)
  }
  return { broken }
}

/**
 * The mutations that cause an error of the compiler: of borrows, the returns that are skipped on the way to it; else
 * those at the place of the error; else those at the places that it refers to; else the last ones before it.
 */
function culprits({ code, spans }, mutations, without) {
  const left = mutations.filter(({ number }) => !without.has(number))
  const primary = spans.find(span => span.is_primary)
  if (primary === undefined) return []
  const inFile = left.filter(one => one.file === primary.file_name)
  if (OF_BORROWS.includes(code?.code)) {
    const lines = spans.filter(span => span.file_name === primary.file_name).map(span => span.line_start)
    const [first, last] = [Math.min(...lines), Math.max(...lines)]
    const skipped = inFile.filter(
      one => one.what.startsWith('`return') && first <= one.line && one.line <= last
    )
    if (skipped.length > 0) return skipped
  }
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
  const before = inFile.filter(
    one => one.end < primary.line_start && primary.line_start - one.end <= LINES_BEFORE
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
  return fs.readFileSync(file, 'utf8').split('\n').map(Number)
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
      const result = reached.includes(mutation.number)
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
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 2 ** 30,
    ...options
  })
  if (status !== 0)
    throw new Stop(`\`${command} ${args[0]}\` failed: ${error?.message ?? stderr.slice(-4000)}`)
  return { stdout }
}
