/**
 * Shows that a node which the system refuses a file or a socket says so, with the cause; that nothing
 * hangs; and that the next node works once the system gives what it needs.
 */
'use strict'

const assert = require('node:assert/strict')
const { spawnSync } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const test = require('node:test')

const root = path.join(__dirname, '..')

const HEAD = `
  const conflux = require(${JSON.stringify(root)})
  const fs = require('node:fs')
  const open = (id, more) => conflux({
    id, clusterSize: 1, channel: { name: 'memory', channelName: id },
    methods: { add: n => n }, reduce: (sum = 0, n) => sum + (n ?? 0), ...more
  })
  const ended = node => new Promise(resolve => node.on('error', resolve))
  const isRefused = open => { try { open() } catch (error) { return error.code + ' ' + error.message } }
  const works = async node => [await node.perform('add', [2]), (await node.close(), node.status().state)].join(' ')
  const tell = (...lines) => fs.writeSync(1, lines.join('\\n') + '\\n')
`

/** Runs the script under a limit of the shell's `ulimit`, as a user that limits apply to. */
function runLimited(limit, script, options = {}) {
  const source = `${HEAD};(async () => { ${script} })().then(() => process.exit(0), error => { tell(error.stack); process.exit(1) })`
  const { status, stdout, stderr } = spawnSync(
    'sh',
    ['-c', `${limit}; exec "$0" "$@"`, process.execPath, '-e', source],
    { encoding: 'utf8', timeout: 30_000, env: { ...process.env, NODE_TEST_CONTEXT: undefined }, ...options }
  )
  assert.equal(status, 0, stdout + stderr)
  assert.doesNotMatch(stderr, /panicked/)
  return stdout.trim().split('\n')
}

const EXHAUST = `
  const descriptors = []
  try { for (;;) descriptors.push(fs.openSync('/dev/null')) } catch {}
  const free = count => { for (const one of descriptors.splice(-count)) fs.closeSync(one) }
`

const skip = process.platform === 'win32' ? 'there is no ulimit' : false

test('no file descriptor when the first node opens: it is refused, the next works', { skip }, () => {
  const lines = runLimited(
    'ulimit -n 256',
    `${EXHAUST}
    tell(isRefused(() => open('a')), isRefused(() => open('a')))
    free(200)
    tell(await works(open('a')))`
  )
  const refusal =
    /^ERR_CONFLUX_RESOURCES starting a node: the operating system refused an event queue: .*\(os error 24\)$/
  assert.match(lines[0], refusal)
  assert.match(lines[1], refusal)
  assert.equal(lines[2], '2 closed')
})

test('any number of descriptors left: a node is refused, fails with the cause, or works', { skip }, t => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'conflux-resources-'))
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }))
  const lines = runLimited(
    'ulimit -n 256',
    `${EXHAUST}
    for (let left = 0; left < 16; left++) {
      let node
      const refused = isRefused(() => (node = open('n' + left, { storage: { path: ${JSON.stringify(folder)} + '/' + left } })))
      if (refused) tell(refused)
      else {
        ended(node)
        tell(await node.perform('add', [2]).catch(error => error.code + ' ' + error.message))
        await node.close()
      }
      free(1)
    }
    free(200)
    tell(await works(open('z')))`
  )
  assert.equal(lines.length, 17)
  for (const line of lines.slice(0, -1)) {
    assert.match(line, /^(ERR_CONFLUX_RESOURCES|ERR_CONFLUX_STORAGE) .*\(os error 24\)$|^2$/)
  }
  assert.match(lines[0], /^ERR_CONFLUX_RESOURCES/)
  assert.ok(lines.some(line => line.startsWith('ERR_CONFLUX_STORAGE ')))
  assert.equal(lines[15], '2')
  assert.equal(lines[16], '2 closed')
})

/** Limits on processes and threads apply to no superuser: this user has none running. */
const STRANGER = { uid: 61_473, gid: 61_473 }

function noStranger() {
  if (process.platform !== 'linux' || process.getuid() !== 0)
    return 'needs Linux, and root to become another user'
  if (spawnSync('prlimit', ['--version']).error) return 'needs prlimit'
  const { status } = spawnSync(process.execPath, ['-e', `require(${JSON.stringify(root)})`], STRANGER)
  return status !== 0 && 'another user can not read the package here'
}

test(
  'any number of threads left: a node is refused, fails with the cause, or works',
  { skip: noStranger() },
  t => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'conflux-resources-'))
    t.after(() => fs.rmSync(folder, { recursive: true, force: true }))
    fs.chmodSync(folder, 0o777)
    const lines = runLimited(
      'prlimit --pid $$ --nproc=64',
      `const { spawn } = require('node:child_process')
    const children = []
    while (children.length < 200) {
      const child = spawn('sleep', ['60'], { stdio: 'ignore' }).on('error', () => {})
      if (child.pid === undefined) break
      children.push(child)
    }
    const free = count => Promise.all(children.splice(-count).map(child => {
      child.kill('SIGKILL')
      return new Promise(resolve => child.once('exit', resolve))
    }))
    const attempt = async more => {
      try {
        const node = open('a', more)
        const caused = new Promise(resolve => {
          node.on('error', error => resolve(error.code + ' ' + error.message))
          node.on('warning', ({ code, cause }) => resolve(code + ' ' + cause))
        })
        const ended = await Promise.race([node.perform('add', [2]).catch(() => caused), caused])
        await node.close()
        return ended
      } catch (error) {
        return error.code + ' ' + error.message
      }
    }
    for (let left = 0; left < 6; left++) {
      const named = { name: 'redis', host: 'localhost', port: 1 }
      tell(await attempt({ storage: { path: ${JSON.stringify(folder)} + '/' + left } }), await attempt({ channel: named }))
      await free(1)
    }
    await free(children.length)
    tell(await works(open('z')))`,
      STRANGER
    )
    assert.equal(lines.length, 13)
    const stored = lines.filter((_, i) => i % 2 === 0).slice(0, -1)
    const named = lines.filter((_, i) => i % 2 === 1)
    const refusal =
      /^ERR_CONFLUX_RESOURCES starting a node: the operating system refused a thread.*\(os error 11\)$/
    for (const line of stored) assert.match(line, line === '2' ? /^2$/ : refusal)
    const gaveNone =
      /^WARN_CONFLUX_CHANNEL_BROKEN connecting to .*: OS can't spawn worker thread: .*\(os error 11\)$/
    for (const line of named) {
      if (!refusal.test(line) && !gaveNone.test(line))
        assert.match(line, /^WARN_CONFLUX_CHANNEL_BROKEN .*refused/)
    }
    assert.match(stored[0], refusal)
    assert.match(named[0], refusal)
    assert.ok(
      named.some(line => gaveNone.test(line)),
      named.join('\n')
    )
    assert.equal(stored.at(-1), '2')
    assert.match(named.at(-1), /refused/)
    assert.equal(lines.at(-1), '2 closed')
  }
)

test('a working directory that is gone is no fault of the channel', { skip }, () => {
  const [line] = runLimited(
    'true',
    `const folder = fs.mkdtempSync(require('node:os').tmpdir() + '/conflux-gone-')
    process.chdir(folder)
    fs.rmdirSync(folder)
    tell(isRefused(() => open('a', { storage: { path: 'here' } })))`
  )
  assert.match(line, /^ERR_CONFLUX_INVALID_OPTIONS Invalid options: "storage\.path" is relative .*ENOENT/)
  assert.doesNotMatch(line, /channel/)
})

test('an addon that is there but does not load: the error says why', t => {
  const copy = fs.mkdtempSync(path.join(os.tmpdir(), 'conflux-addon-'))
  t.after(() => fs.rmSync(copy, { recursive: true, force: true }))
  const run = args => {
    const script = `try { require(${JSON.stringify(copy)}); console.log('loaded') } catch (error) { console.log(error.code, error.message) }`
    return spawnSync(process.execPath, [...args, '-e', script], { encoding: 'utf8', cwd: os.tmpdir() }).stdout
  }
  for (const name of fs.readdirSync(root)) {
    if (/^(lib|index\.js|binding\.js|package\.json|.*\.node)$/.test(name)) {
      fs.cpSync(path.join(root, name), path.join(copy, name), { recursive: true })
    }
  }
  const addon = path.join(
    copy,
    fs.readdirSync(copy).find(name => name.endsWith('.node'))
  )
  assert.equal(run([]), 'loaded\n')
  assert.match(run(['--no-addons']), /^ERR_CONFLUX_NO_BINARY .*does not load: .*disabled/)
  if (process.platform !== 'linux') return
  const { size } = fs.statSync(addon)
  for (const length of [size - 1, 100_000, 1000, 64, 10, 0]) {
    fs.truncateSync(addon, length)
    assert.match(
      run([]),
      /^ERR_CONFLUX_NO_BINARY .*does not load: .*(truncated|too short|empty)/,
      `${length} bytes`
    )
  }
  fs.writeFileSync(
    addon,
    'this is not an addon at all, but it is long enough to be one, if only the length counted'
  )
  assert.match(run([]), /^ERR_CONFLUX_NO_BINARY .*does not load: .*(ELF|invalid)/)
  fs.rmSync(addon)
  assert.match(
    run([]),
    /^ERR_CONFLUX_NO_BINARY conflux has no native addon for .*: install the package conflux-/
  )
})
