/**
 * Holds the steps that the npm commands are made of: run a program, install, build, stop with one sentence.
 *
 * Called by every script of this folder. It may use nothing but Node's own modules: it runs before anything is
 * installed.
 */
'use strict'

const { spawn, spawnSync } = require('node:child_process')
const { createHash } = require('node:crypto')
const fs = require('node:fs')
const path = require('node:path')

const root = path.join(__dirname, '..')
const manifest = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'))

/** Ends a command. Its message is one sentence: what is wrong, and what to do about it. */
class Stop extends Error {}

/** Runs a whole command and turns its end into an exit code. It reports a mistaken option in one sentence, as any Stop. */
async function main(work) {
  try {
    await work()
  } catch (error) {
    const isUsers = error instanceof Stop || String(error?.code).startsWith('ERR_PARSE_ARGS_')
    console.error(isUsers ? `\n✗ ${error.message}` : error)
    process.exitCode = 1
  }
}

/** Says what is done, does it, and says how long it took. */
async function step(title, work) {
  const start = Date.now()
  console.log(`\n▸ ${title}`)
  const result = await work()
  console.log(`✓ ${title} (${((Date.now() - start) / 1000).toFixed(1)} s)`)
  return result
}

/** Brings node_modules to what package-lock.json says. */
async function install() {
  requireNode()
  const stamp = path.join(root, 'node_modules', '.conflux-installed')
  const wanted = createHash('sha256')
    .update(fs.readFileSync(path.join(root, 'package-lock.json')))
    .digest('hex')
  if (fs.existsSync(stamp) && fs.readFileSync(stamp, 'utf8') === wanted) return

  await step('Installing the development tools (npm ci)', async () => {
    // Errors only: some tools of tools ask for a newer Node in parts that are not used here.
    await npm(['ci', '--no-audit', '--no-fund', '--loglevel=error'])
    fs.writeFileSync(stamp, wanted)
  })
}

/** Brings the addon to what `src/` says; cargo knows whether there is anything to do. */
async function build() {
  requireRust()
  await step('Building the addon (cargo, release; the first time takes some minutes)', () =>
    tool('@napi-rs/cli', 'napi', [
      'build',
      '--platform',
      '--release',
      '--js',
      'binding.js',
      '--dts',
      'binding.d.ts'
    ])
  )
}

/** Runs a program in this terminal (`quiet`: errors only); stops if it fails or takes longer than `minutes`. */
function run(program, args, { env = {}, cwd = root, minutes = 30, quiet = false } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['inherit', quiet ? 'ignore' : 'inherit', 'inherit']
    })
    const shown = [path.basename(program), ...args].join(' ')
    const limit = setTimeout(() => {
      child.kill('SIGKILL')
      reject(new Stop(`\`${shown}\` did not end within ${minutes} minutes.`))
    }, minutes * 60_000)
    child.on('error', error => {
      clearTimeout(limit)
      reject(new Stop(`\`${shown}\` could not be started: ${error.message}`))
    })
    child.on('exit', (code, signal) => {
      clearTimeout(limit)
      if (code === 0) resolve()
      else reject(new Stop(`\`${shown}\` failed (${signal ?? `exit code ${code}`}).`))
    })
  })
}

/** Runs a program and returns what it prints on its standard output; what it prints as errors is shown. */
function read(program, args, { cwd = root } = {}) {
  const { status, stdout, error } = spawnSync(program, args, {
    cwd,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    stdio: ['ignore', 'pipe', 'inherit']
  })
  if (status !== 0)
    throw new Stop(`\`${program} ${args.join(' ')}\` failed: ${error ?? `exit code ${status}`}`)
  return stdout
}

function cargo(args, options) {
  return run('cargo', args, options)
}

function npm(args, options) {
  const [program, ...before] = npmProgram()
  return run(program, [...before, ...args], options)
}

function npmRead(args, options) {
  const [program, ...before] = npmProgram()
  return read(program, [...before, ...args], options)
}

/** npm as something that can be started without a shell, on Windows too. */
function npmProgram() {
  const beside = path.join(path.dirname(process.execPath), 'node_modules', 'npm', 'bin', 'npm-cli.js')
  const script = [process.env.npm_execpath, beside].find(
    file => file && file.endsWith('npm-cli.js') && fs.existsSync(file)
  )
  return script ? [process.execPath, script] : ['npm']
}

/** Runs the program `name` of an installed development tool. */
function tool(packageName, name, args, options) {
  const folder = path.join(root, 'node_modules', packageName)
  const { bin } = JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8'))
  const file = path.join(folder, typeof bin === 'string' ? bin : bin[name])
  return run(process.execPath, [file, ...args], options)
}

function requireNode() {
  const major = Number(process.versions.node.split('.')[0])
  if (major < 20) {
    throw new Stop(
      `This is Node ${process.versions.node}; conflux needs Node 20 or newer: https://nodejs.org`
    )
  }
}

function requireRust() {
  if (!answers('cargo', ['--version'])) {
    throw new Stop(
      'Rust is missing: install it as https://rustup.rs says (one command), then run this again.'
    )
  }
  if (process.platform === 'linux' && !answers('cc', ['--version'])) {
    throw new Stop(
      'A C linker is missing: install it (Debian and Ubuntu: `apt-get install build-essential`, Alpine: ' +
        '`apk add build-base`, Fedora: `dnf install gcc`), then run this again.'
    )
  }
  if (process.platform === 'darwin' && process.arch === 'arm64' && !answers('protoc', ['--version'])) {
    throw new Stop('protoc 3.x is missing: CONTRIBUTING.md says how to install it on Apple Silicon.')
  }
}

/** Whether a program can be started and is content. */
function answers(program, args) {
  return spawnSync(program, args, { stdio: 'ignore' }).status === 0
}

/** Builds the tests once; the path of their binary. */
function buildTests() {
  console.log('▸ Building the tests')
  const args = ['test', '--lib', '--locked', '--no-run', '--message-format=json']
  const built = spawnSync('cargo', args, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    stdio: ['ignore', 'pipe', 'inherit']
  })
  if (built.status !== 0) throw new Stop('The tests could not be built.')
  const messages = built.stdout.split('\n').filter(Boolean).map(JSON.parse)
  const binary = messages.findLast(message => message.profile?.test && message.executable)
  if (!binary) throw new Stop('cargo named no test binary.')
  return binary.executable
}

module.exports = {
  Stop,
  answers,
  build,
  buildTests,
  cargo,
  install,
  main,
  manifest,
  npm,
  npmRead,
  read,
  root,
  run,
  step,
  tool
}
