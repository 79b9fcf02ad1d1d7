/**
 * Runs the blocks of docs/testing.md with the test runners that they are for, in a project that has conflux
 * installed: in parallel, in every pool.
 */
'use strict'

const assert = require('node:assert/strict')
const { spawn } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const path = require('node:path')
const test = require('node:test')

const { NativeNode } = require('../binding.js')
const { installPackage, link, makeEmptyProject, root } = require('./project')

const page = fs.readFileSync(path.join(root, 'docs', 'testing.md'), 'utf8')

/** By name, which is the first line of each. */
const blocks = new Map(
  [...page.matchAll(/^```js\n\/\/ (\S+)\n([^]*?)^```$/gm)].map(([, name, code]) => [name, code])
)

/** So many copies of each run beside each other: they must not meet. */
const COPIES = 3

const bin = (name, file) => path.join(root, 'node_modules', name, file)
const JEST = [
  bin('jest', 'bin/jest.js'),
  '--rootDir',
  '.',
  '--testMatch',
  '**/*.jest.js',
  '--maxWorkers',
  '3'
]
const VITEST = [bin('vitest', 'vitest.mjs'), 'run', '--dir', '.', '--config', 'vitest.config.mjs']
const MOCHA = [bin('mocha', 'bin/mocha.js'), '*.mocha.js']

/** `isolated`: the block isolates nodes. */
const RUNS = {
  'node:test': { block: 'counter.test.js', args: copies => ['--test', ...copies], passed: /^# pass 6$/m },
  'jest, in parallel': {
    block: 'counter.jest.js',
    args: () => [...JEST, '--maxWorkers', '3'],
    passed: /^Tests: +6 passed, 6 total$/m
  },
  'jest, in worker threads': {
    block: 'counter.jest.js',
    args: () => [...JEST, '--maxWorkers', '3', '--workerThreads'],
    passed: /^Tests: +6 passed, 6 total$/m
  },
  'jest, in one process, which looks for open handles': {
    block: 'counter.jest.js',
    args: () => [...JEST, '--detectOpenHandles'],
    passed: /^Tests: +6 passed, 6 total$/m,
    absent: /open handle/
  },
  mocha: { block: 'counter.mocha.js', args: () => MOCHA, passed: /^ +3 passing/m },
  'mocha, in parallel': {
    block: 'counter.mocha.js',
    args: () => [...MOCHA, '--parallel', '--jobs', '3'],
    passed: /^ +3 passing/m
  }
}
for (const pool of ['forks', 'threads', 'vmForks', 'vmThreads']) {
  RUNS[`vitest, pool ${pool}`] = {
    block: 'counter.vitest.js',
    args: () => [...VITEST, '--pool', pool],
    passed: /Tests +6 passed \(6\)/
  }
}

for (const [name, { block, args, passed, absent }] of Object.entries(RUNS)) {
  const isolates = blocks.get(block)?.includes('c.isolate(')
  const skip = isolates && NativeNode.prototype.setIsolated === undefined && 'the addon cannot isolate nodes'
  test(`${name}: ${block} of docs/testing.md passes, ${COPIES} copies at a time`, { skip }, async t => {
    const folder = makeEmptyProject(t)
    installPackage(folder)
    link(folder, 'vitest', bin('vitest', ''))
    const copies = Array.from({ length: COPIES }, (_, i) => `${i + 1}-${block}`)
    for (const copy of copies) fs.writeFileSync(path.join(folder, copy), blocks.get(block))
    fs.writeFileSync(path.join(folder, 'counter.js'), blocks.get('counter.js'))
    fs.writeFileSync(path.join(folder, 'package.json'), '{}')
    fs.writeFileSync(
      path.join(folder, 'vitest.config.mjs'),
      "export default { test: { include: ['*.vitest.js'] } }"
    )
    const { code, output } = await run(args(copies), folder)
    assert.equal(code, 0, output)
    assert.match(output, passed)
    if (absent !== undefined) assert.doesNotMatch(output, absent)
  })
}

test('the page names each runner that is tested, and has no block that is not', () => {
  const tested = new Set(['counter.js', ...Object.values(RUNS).map(({ block }) => block)])
  assert.deepEqual([...blocks.keys()].sort(), [...tested].sort())
  assert.equal(blocks.size, page.match(/^```js$/gm).length)
})

/** A node that is not closed, or a worker that hangs, would keep the runner from ending. */
async function run(args, cwd) {
  const child = spawn(process.execPath, args, {
    cwd,
    env: { ...process.env, NODE_TEST_CONTEXT: undefined, NO_COLOR: '1', FORCE_COLOR: undefined },
    stdio: ['ignore', 'pipe', 'pipe']
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', text => (output += text))
  const limit = setTimeout(() => child.kill('SIGKILL'), 120_000)
  const [code, signal] = await once(child, 'close')
  clearTimeout(limit)
  return { code: signal ?? code, output }
}
