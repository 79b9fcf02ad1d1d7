/**
 * Tries the packed package in an application of Next: bundled, left out of the bundle, and in the development server.
 *
 * Called by trial.js. The configuration is the one that docs/platforms.md prints.
 */
'use strict'

const { spawn } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const net = require('node:net')
const path = require('node:path')
const { setTimeout: sleep } = require('node:timers/promises')

const { Stop, root } = require('./steps')

const PACKAGES = ['next@16', 'react@19', 'react-dom@19']

/** A build takes half a minute, and several on a machine that does other work. */
const SECONDS_MAX = 600

/** An application as docs/guide.md says: the node outlives the module, and `instrumentation.js` opens it. */
const FILES = {
  'lib/store.js': `
    import conflux from 'conflux'

    const open = () => conflux({
      id: 'next', clusterSize: 1, channel: { name: 'memory' },
      initialState: 0, methods: { add: n => n }, reduce: (sum, n) => sum + n
    })

    export const node = (globalThis.confluxNode ??= open())`,
  'instrumentation.js': `
    export async function register() {
      if (process.env.NEXT_RUNTIME !== 'nodejs') return
      const { node } = await import('./lib/store')
      await node.ready()
    }`,
  'app/api/add/route.js': `
    import { node } from '../../../lib/store'

    export async function POST() {
      await node.perform('add', [1])
      return Response.json(node.getState())
    }`,
  'app/page.js': `
    import { node } from '../lib/store'

    export const dynamic = 'force-dynamic'
    export default function Page() { return <p>{'the sum is ' + node.getState()}</p> }`,
  'app/layout.js': `
    export default function Layout({ children }) { return <html><body>{children}</body></html> }`
}

const ENV = { ...process.env, NEXT_TELEMETRY_DISABLED: '1', NODE_ENV: undefined }

/** @param folder has the packages installed. */
async function tryNext(folder) {
  for (const [name, text] of Object.entries(FILES)) write(folder, name, text)
  const config = configuration()
  const next = path.join(folder, 'node_modules', 'next', 'dist', 'bin', 'next')

  await build(folder, next, 'module.exports = {}', [])
  await serve('bundled, `next start`', folder, port => [next, 'start', '-p', `${port}`], serves)

  const standalone = `${config}\nmodule.exports.output = 'standalone'`
  for (const bundler of [[], ['--webpack']]) {
    await build(folder, next, standalone, bundler)
    const server = fs.mkdtempSync(path.join(folder, '..', 'standalone-'))
    fs.cpSync(path.join(folder, '.next', 'standalone'), server, { recursive: true, verbatimSymlinks: true })
    // Whatever it lacks is not found above it either.
    await serve(`left out, \`standalone\` ${bundler}`, server, () => ['server.js'], serves)
  }

  write(folder, 'next.config.js', config)
  await serve(
    'the development server',
    folder,
    port => [next, 'dev', '-p', `${port}`],
    async origin => {
      await serves(origin)
      const file = path.join(folder, 'lib', 'store.js')
      fs.writeFileSync(file, `${fs.readFileSync(file, 'utf8')}\nexport const isEdited = true\n`)
      write(folder, 'app/page.js', FILES['app/page.js'].replace('the sum is', 'now it is'))
      await until('the edited page', async () => (await page(origin)).includes('now it is 2'))
      expect(await add(origin), 3)
    }
  )
}

function configuration() {
  const text = fs.readFileSync(path.join(root, 'docs', 'platforms.md'), 'utf8')
  return /^```js\n(\/\/ next\.config\.js\n[^]*?)^```$/m.exec(text)[1]
}

function write(folder, name, text) {
  const file = path.join(folder, name)
  fs.mkdirSync(path.dirname(file), { recursive: true })
  fs.writeFileSync(file, text)
}

async function build(folder, next, config, bundler) {
  write(folder, 'next.config.js', config)
  fs.rmSync(path.join(folder, '.next'), { recursive: true, force: true })
  const { child, output } = start(folder, [next, 'build', ...bundler], {})
  const limit = setTimeout(() => child.kill('SIGKILL'), SECONDS_MAX * 1000)
  const [code] = await once(child, 'close')
  clearTimeout(limit)
  if (code !== 0) throw new Stop(`\`next build ${bundler}\` ended with ${code}:\n${output()}`)
}

async function serve(what, folder, argsOf, check) {
  const port = await freePort()
  const env = { PORT: `${port}`, HOSTNAME: '127.0.0.1' }
  const { child, output } = start(folder, argsOf(port), env)
  const closed = once(child, 'close')
  const ended = closed.then(([code]) => Promise.reject(new Stop(`it ended with ${code}`)))
  try {
    await Promise.race([check(`http://127.0.0.1:${port}`), ended])
  } catch (error) {
    throw new Stop(`Next, ${what}: ${error.message}\n${output()}`)
  } finally {
    ended.catch(() => {})
    child.kill('SIGTERM')
    await closed
  }
}

function start(cwd, args, env) {
  const child = spawn(process.execPath, args, {
    cwd,
    env: { ...ENV, ...env },
    stdio: ['ignore', 'pipe', 'pipe']
  })
  let text = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', more => (text += more))
  return { child, output: () => text }
}

async function serves(origin) {
  await until('a page', async () => (await page(origin)).includes('the sum is 0'))
  expect(await add(origin), 1)
  expect(await add(origin), 2)
  expect((await page(origin)).includes('the sum is 2'), true)
}

const page = async origin => (await fetch(origin)).text()

const add = async origin => (await fetch(`${origin}/api/add`, { method: 'POST' })).json()

async function until(what, condition) {
  const end = Date.now() + SECONDS_MAX * 1000
  while (!(await condition().catch(() => false))) {
    if (Date.now() > end) throw new Error(`${what}: not within ${SECONDS_MAX} s`)
    await sleep(200)
  }
}

function expect(actual, expected) {
  if (actual !== expected)
    throw new Error(`got ${JSON.stringify(actual)} instead of ${JSON.stringify(expected)}`)
}

async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

module.exports = { PACKAGES, tryNext }
