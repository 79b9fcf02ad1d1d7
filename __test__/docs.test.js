/**
 * Shows that the operator's page leaves nothing out: its examples run, it names every code and every field of
 * the status, and its links lead somewhere.
 */
'use strict'

const assert = require('node:assert/strict')
const { spawn } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const path = require('node:path')
const readline = require('node:readline')
const test = require('node:test')

const { startRedisServer } = require('../scripts/redis-server')
const { manifest } = require('../scripts/steps')
const { openOne, until } = require('./nodes')
const { makeProject, root, runFile } = require('./project')

const read = name => fs.readFileSync(path.join(root, name), 'utf8')

const page = read('docs/operations.md')
const service = read('examples/service.js')
const blocks = [...page.matchAll(/^```js\n([^]*?)^```$/gm)].map(([, code]) => code)

/** It runs until it gets a signal. */
const isService = code => code.startsWith('// service.js')

test('the page prints examples/service.js', () => {
  assert.deepEqual(blocks.filter(isService), [service])
})

blocks.forEach((code, i) => {
  if (isService(code)) return
  test(`block ${i + 1} of the page runs and ends by itself (${code.split('\n').length} lines)`, async t => {
    const file = path.join(makeProject(t), 'block.js')
    fs.writeFileSync(file, code)
    const { code: exitCode, output } = await runFile(file, { seconds: 30 })
    assert.equal(exitCode, 0, output)
  })
})

/** What stands between backticks at the beginning of a table's row. */
const rows = new Set([...page.matchAll(/^\|\s*`([^`]+)`/gm)].map(([, name]) => name))

test('every code that an application can meet has a row', () => {
  const codes = new Set(read('index.d.ts').match(/\b(ERR|WARN)_CONFLUX_[A-Z_]*[A-Z]/g))
  assert.ok(codes.size > 0)
  assert.deepEqual([...codes].filter(code => !rows.has(code)).sort(), [])
  assert.deepEqual([...rows].filter(row => /_CONFLUX_/.test(row) && !codes.has(row)).sort(), [])
})

test('every field of the status has a row', async t => {
  const node = openOne(t)
  await node.ready()
  const { members, ...status } = node.status()
  const fields = [...Object.keys(status), ...Object.keys(members[0]).map(field => `members[].${field}`)]
  assert.deepEqual(
    fields.filter(field => !rows.has(field) && ![...rows].some(row => row.startsWith(`${field}.`))),
    []
  )
})

for (const name of [
  'README.md',
  'ARCHITECTURE.md',
  'CHANGELOG.md',
  'CONTRIBUTING.md',
  'docs/channels.md',
  'docs/coordination.md',
  'docs/guide.md',
  'docs/observability.md',
  'docs/operations.md',
  'docs/performance.md',
  'docs/platforms.md',
  'docs/redis.md',
  'docs/redux.md',
  'docs/reliability.md',
  'docs/scale.md',
  'docs/testing.md'
]) {
  test(`the links of ${name} lead somewhere`, () => {
    for (const [, target] of read(name).matchAll(/\]\(([^)]+)\)/g)) {
      if (/^https?:/.test(target)) continue
      const [file, anchor] = target.split('#')
      const goal = file === '' ? name : path.posix.join(path.posix.dirname(name), file)
      assert.ok(fs.existsSync(path.join(root, goal)), `${target}: there is no such file`)
      assert.ok(isPacked(goal), `${target}: the package does not hold it`)
      if (anchor) assert.ok(anchorsOf(read(goal)).has(anchor), `${target}: there is no such heading`)
    }
  })
}

/** npm adds the README by itself. */
function isPacked(file) {
  return [...manifest.files, 'README.md'].some(packed => file === packed || file.startsWith(`${packed}/`))
}

/** As GitHub makes them. */
function anchorsOf(markdown) {
  const headings = [...markdown.matchAll(/^#+ (.+)$/gm)].map(([, heading]) => heading.toLowerCase())
  return new Set(headings.map(heading => heading.replace(/[^\p{L}\p{N}\s_-]/gu, '').replace(/\s/g, '-')))
}

// Windows has no SIGTERM that a process could hear.
test(
  'the service of the page is probed, counts, ends by SIGTERM, and comes back',
  { skip: process.platform === 'win32' },
  async t => {
    const redis = await startRedisServer()
    t.after(() => redis.kill())
    const folder = makeProject(t)
    const file = path.join(folder, 'service.js')
    fs.writeFileSync(file, service)
    const own = { ID: 'a', CLUSTER_SIZE: '1', PORT: '0', REDIS: redis.url, DATA: 'data/a' }

    for (let round = 1; round <= 2; round++) {
      const child = spawn(process.execPath, [file], {
        cwd: folder,
        env: { ...process.env, ...own, NODE_TEST_CONTEXT: undefined },
        stdio: ['ignore', 'pipe', 'inherit']
      })
      t.after(() => child.kill('SIGKILL'))
      const [line] = await once(readline.createInterface({ input: child.stdout }), 'line')
      const at = `http://127.0.0.1:${line.split(' ')[1]}`
      await until('the process to be ready', async () => (await fetch(`${at}/ready`)).ok)
      assert.equal((await fetch(`${at}/live`)).status, 200)
      await fetch(`${at}/apples`, { method: 'POST' })
      assert.deepEqual(await (await fetch(at)).json(), { apples: round })

      child.kill('SIGTERM')
      assert.deepEqual(await once(child, 'exit'), [0, null])
    }
  }
)
