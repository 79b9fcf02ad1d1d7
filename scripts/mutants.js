/**
 * `npm run mutants`: puts faults into a copy of the core, one at a time, runs the Rust tests, and
 * says which faults no test notices.
 *
 * The copy is built once with all mutations (mutants/), without those that the compiler refuses; the environment switches
 * one on. A run without a mutation notes which ones each test reaches. Each mutation of the core meets the tests that
 * reach it in stages, the quick ones first; one outside of the core meets all tests of its layer. The tests that put
 * known bugs back and those of the project's structure are left out: they would notice any change.
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

/** Parts of the names of tests that are left out: those would notice any change, or judge nothing. */
const NEVER = ['bug_of', 'tidy::', 'survey']

/** Which tests judge the mutations of a file. Those of the core are pure, and are chosen one by one. */
const CORE = 'src/raft/'
const TESTS_OF_CORE = ['raft', 'driver'].map(module => `${module}::`)
const TESTS_OF_EDGES = ['channel', 'storage', 'driver'].map(module => `${module}::`)

/** Tests that take longer, without a mutation, are the simulations: they come after the others. */
const QUICK_MS = 2000

/** The environment of tests that are to be short. */
const FEW = { CONFLUX_SEEDS: '20', CONFLUX_MESSAGES: '15000' }

/**
 * What a mutation meets, one after the other, until a test fails. `seconds` are those of the processor, at most: a
 * mutation may loop forever.
 */
const STAGES = [
  { name: 'quick tests', env: FEW, seconds: 60 },
  { name: '20 seeds of each simulation', env: FEW, seconds: 400 },
  { name: 'the seeds of npm test', env: {}, seconds: 1800 }
]

/** How much longer a test may take than its processor time. */
const PATIENCE = 10

/** So many lines before the place of an error its cause may be. */
const LINES_BEFORE = 12

/** Something is used although it was moved, is borrowed, or has no value. */
const OF_BORROWS = ['E0381', 'E0382', 'E0384', 'E0499', 'E0502', 'E0503', 'E0505', 'E0506']

const USAGE = `npm run mutants -- [options]
  --count 80        so many mutations, drawn by the seed; default: all
  --seed 1          what is drawn
  --only node/      those in files whose path contains this
  --number 17       this one, with the output of the tests; 17,20: these, without it
  --jobs 2          so many at once; default: 1
  --stages 2        only the first stages: quick tests, 20 seeds of each simulation, the seeds of npm test
  --built           those of the last build, whatever has changed since
  --list            lists them, and runs nothing`

main(async () => {
  const { values } = readOptions()
  const built = prepare(values.built)
  const chosen = choose(built.mutations, values)
  if (values.list) {
    for (const mutation of chosen) console.log(describe(mutation))
    return
  }
  const results = await judgeAll(built, chosen, values)
  report(results)
})

function readOptions() {
  let parsed
  try {
    parsed = parseArgs({
      options: {
        count: { type: 'string' },
        seed: { type: 'string', default: '1' },
        only: { type: 'string', default: '' },
        number: { type: 'string' },
        jobs: { type: 'string', default: '1' },
        stages: { type: 'string', default: String(STAGES.length) },
        built: { type: 'boolean', default: false },
        list: { type: 'boolean', default: false }
      }
    })
  } catch (error) {
    throw new Stop(`${error.message}\n${USAGE}`)
  }
  for (const name of ['count', 'seed', 'number', 'jobs', 'stages']) {
    const text = parsed.values[name]
    const pattern = name === 'number' ? /^\d+(,\d+)*$/ : /^\d+$/
    if (text !== undefined && !pattern.test(text))
      throw new Stop(`--${name} is a number, not \`${text}\`\n${USAGE}`)
  }
  return parsed
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
function prepare(isBuilt) {
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

  const sum = createHash('sha256').update(JSON.stringify(NEVER))
  for (const file of [...copied(), 'mutants/runtime.rs', 'mutants/src/main.rs', 'mutants/src/sites.rs']) {
    sum.update(file).update(fs.readFileSync(path.join(root, file)))
  }
  const sourcesHash = sum.digest('hex')
  const record = path.join(folder, 'build.json')
  const former = fs.existsSync(record) ? JSON.parse(fs.readFileSync(record, 'utf8')) : { refused: [] }
  if ((isBuilt || former.sourcesHash === sourcesHash) && fs.existsSync(former.binary)) return former

  const { binary, mutations, refused } = compile(mutant, new Set(former.refused))
  const built = { sourcesHash, binary, mutations, refused, tests: testsOf(binary) }
  fs.writeFileSync(record, JSON.stringify(built))
  return built
}

/**
 * Builds the copy again and again, each time without the mutations that the compiler has refused so far; `refused`
 * describes those of the last build.
 */
function compile(mutant, refused) {
  const identity = ({ file, function: name, what }) => `${file} ${name} ${what}`
  const all = mutate(mutant, new Set())
  const without = new Set(all.filter(one => refused.has(identity(one))).map(({ number }) => number))
  for (;;) {
    const started = Date.now()
    mutate(mutant, without)
    const left = all.filter(({ number }) => !without.has(number))
    const { binary, broken } = build(left)
    const seconds = ((Date.now() - started) / 1000).toFixed(0)
    if (binary !== undefined) {
      console.log(
        `${left.length} mutations in one build, after ${seconds} s; ${without.size} more do not compile`
      )
      const refused = all.filter(({ number }) => without.has(number)).map(identity)
      return { binary, mutations: left, refused }
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
  const text = `#![allow(warnings)] ${fs.readFileSync(library, 'utf8')}\nmod mutants;\n`
  fs.writeFileSync(library, text)
  return list
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
}

/**
 * The test binary; or which mutations do not compile. The compiler reports all errors of a crate before it generates
 * code, so a build that fails takes as long as a check. The copy has a folder of its own for that: cargo would take its
 * tests for those of the project.
 */
function build(mutations) {
  const args = ['test', '--lib', '--no-run', '--locked', '--message-format=json']
  const env = { ...process.env, CARGO_TARGET_DIR: path.join(folder, 'target'), CARGO_INCREMENTAL: '0' }
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
    for (const one of culprits(error, mutations)) broken.add(one.number)
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
function culprits({ code, spans }, mutations) {
  const primary = spans.find(span => span.is_primary)
  if (primary === undefined) return []
  const inFile = mutations.filter(one => one.file === primary.file_name)
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
        mutations.filter(
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

/**
 * The tests that pass without a mutation: their names, milliseconds, and the numbers of the mutations that they reach
 * with some seeds.
 */
function testsOf(binary) {
  const file = path.join(folder, 'reached')
  fs.rmSync(file, { force: true })
  const filters = [...new Set([...TESTS_OF_CORE, ...TESTS_OF_EDGES])]
  const { stdout } = spawnSync(binary, [...filters, ...skips()], {
    cwd: tree,
    // More than one: else no test has a thread of its own.
    env: {
      ...process.env,
      ...FEW,
      CONFLUX_REACHED: file,
      RUST_TEST_THREADS: '2',
      RUST_BACKTRACE: '0'
    },
    encoding: 'utf8',
    maxBuffer: 2 ** 30
  })
  const failed = new Set([...stdout.matchAll(/^test (\S+) \.\.\. FAILED$/gm)].map(([, name]) => name))
  for (const name of failed) console.log(`left out, for it fails without a mutation: ${name}`)
  const lines = fs.readFileSync(file, 'utf8').trim().split('\n')
  return lines
    .map(line => line.split('\t'))
    .map(([name, ms, numbers]) => ({ name, ms: Number(ms), reached: numbers.split(',').map(Number) }))
    .filter(({ name }) => !failed.has(name))
}

function skips() {
  return NEVER.flatMap(part => ['--skip', part])
}

function choose(mutations, { count, seed, only, number }) {
  if (number !== undefined) {
    const numbers = number.split(',').map(Number)
    return mutations.filter(one => numbers.includes(one.number))
  }
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

async function judgeAll(built, chosen, { jobs, stages }) {
  const results = []
  const queue = [...chosen]
  const work = async () => {
    for (let mutation = queue.shift(); mutation !== undefined; mutation = queue.shift()) {
      const started = Date.now()
      const result = await judge(built, mutation, STAGES.slice(0, Number(stages)), chosen.length === 1)
      results.push({ mutation, ...result })
      const verdict = result.by === undefined ? `SURVIVES (${result.note})` : `noticed by ${result.by}`
      const seconds = ((Date.now() - started) / 1000).toFixed(0)
      console.log(`${results.length} of ${chosen.length}: ${describe(mutation)}: ${verdict}, ${seconds} s`)
    }
  }
  await Promise.all(Array.from({ length: Number(jobs) }, work))
  return results
}

async function judge({ binary, tests }, { number, file }, stages, isShown) {
  const reaching = tests.filter(({ reached }) => reached.includes(number))
  for (const stage of stages) {
    const chosen = testsFor(stage, file, tests, reaching)
    if (chosen.length === 0) continue
    const { status, signal, output } = await runTests(binary, chosen, stage, number)
    if (isShown) console.log(output)
    if (status === 0) continue
    const failed = /^test (\S+) \.\.\. FAILED$/m.exec(output)?.[1]
    return {
      by: failed ?? `${stage.name}: ${['SIGKILL', 'SIGXCPU'].includes(signal) ? 'no end' : 'a crash'}`
    }
  }
  return { by: undefined, note: reaching.length === 0 ? 'never reached' : 'every test passes' }
}

/** The arguments that choose the tests of a stage; none, if it has none. */
function testsFor(stage, file, tests, reaching) {
  const [quick, seeds] = STAGES
  if (!file.startsWith(CORE)) return stage === quick ? TESTS_OF_EDGES : []
  const isQuick = ({ ms }) => ms <= QUICK_MS
  const ofCore = ({ name }) => TESTS_OF_CORE.some(part => name.startsWith(part))
  const isChosen =
    stage === quick
      ? test => isQuick(test) && reaching.includes(test)
      : stage === seeds
        ? test => !isQuick(test) && reaching.includes(test)
        : // More seeds may reach what some did not.
          test => !isQuick(test)
  const names = tests.filter(ofCore).filter(isChosen)
  return names.length === 0 ? [] : ['--exact', ...names.map(({ name }) => name)]
}

function runTests(binary, chosen, { env, seconds }, number) {
  return new Promise(resolve => {
    // The shell limits the time of the processor, so that a busy machine makes no difference.
    const child = spawn('sh', ['-c', `ulimit -t ${seconds}; exec "$0" "$@"`, binary, ...chosen, ...skips()], {
      cwd: tree,
      env: {
        ...process.env,
        ...env,
        CONFLUX_MUTANT: String(number),
        RUST_TEST_THREADS: '1',
        RUST_BACKTRACE: '0'
      },
      stdio: ['ignore', 'pipe', 'ignore']
    })
    let output = ''
    const stop = setTimeout(() => child.kill('SIGKILL'), seconds * PATIENCE * 1000)
    child.stdout.setEncoding('utf8').on('data', text => {
      output += text
      // One is enough; the others may take long.
      if (output.includes('... FAILED\n')) child.kill('SIGKILL')
    })
    child.on('close', (status, signal) => {
      clearTimeout(stop)
      resolve({ status, signal, output })
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
