/**
 * Runs the blocks of docs/channels.md about custom channels as they are printed, and its tests with every test
 * runner: each statement of the contract is a test there.
 */
'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const test = require('node:test')

const { channelContract } = require('../testing')
const { link, makeProject, root, runFile } = require('./project')

const page = fs.readFileSync(path.join(root, 'docs', 'channels.md'), 'utf8')
const section = page.slice(page.indexOf('\n## Custom channels\n'))
const [channel, use, contract] = [...section.matchAll(/^```js\n([^]*?)^```$/gm)].map(([, code]) => code)

let statements = 0
channelContract(() => {}, { test: () => statements++ })

function makePage(t, files) {
  const folder = makeProject(t)
  for (const [name, code] of Object.entries({ 'broadcast-channel.js': channel, ...files })) {
    fs.writeFileSync(path.join(folder, name), code)
  }
  return folder
}

test('the example runs and ends by itself', async t => {
  const folder = makePage(t, { 'app.js': use })
  assert.deepEqual(await runFile(path.join(folder, 'app.js')), { code: 0, output: '2\n' })
})

test('its test passes with node:test', async t => {
  const folder = makePage(t, { 'broadcast-channel.test.js': contract })
  const { code, output } = await runFile(path.join(folder, 'broadcast-channel.test.js'))
  assert.equal(code, 0, output)
  assert.match(output, new RegExp(`^# pass ${statements}$`, 'm'))
})

/** Of each: how the test gets its function, what is run, and what says that all have passed. */
const RUNNERS = {
  jest: {
    get: '',
    file: 'broadcast-channel.test.js',
    run: `require(${JSON.stringify(path.join(root, 'node_modules', 'jest'))})
      .run(['--rootDir', '.', '--testMatch', '**/broadcast-channel.test.js'])`,
    passed: new RegExp(`^Tests: +${statements} passed, ${statements} total$`, 'm')
  },
  mocha: {
    get: 'const test = it',
    file: 'broadcast-channel.mocha.js',
    run: `process.argv.push('broadcast-channel.mocha.js', '--timeout', '5000')
      require(${JSON.stringify(path.join(root, 'node_modules', 'mocha', 'bin', 'mocha.js'))})`,
    passed: new RegExp(`^ +${statements} passing`, 'm')
  },
  vitest: {
    get: `import { createRequire } from 'node:module'
      import { test } from 'vitest'
      const require = createRequire(import.meta.url)`,
    file: 'broadcast-channel.test.mjs',
    run: `process.argv.push('run', '--dir', '.')
      import(${JSON.stringify(path.join(root, 'node_modules', 'vitest', 'vitest.mjs'))})`,
    passed: new RegExp(`Tests +${statements} passed \\(${statements}\\)`)
  }
}

for (const [name, { get, file, run, passed }] of Object.entries(RUNNERS)) {
  test(`its test passes with ${name}`, async t => {
    const folder = makePage(t, {
      [file]: contract.replace(/^const test = .*$/m, get),
      'run.js': run,
      'package.json': '{}'
    })
    link(folder, 'vitest', path.join(root, 'node_modules', 'vitest'))
    const { code, output } = await runFile(path.join(folder, 'run.js'), {
      env: { NO_COLOR: '1', FORCE_COLOR: '0' }
    })
    assert.equal(code, 0, output)
    assert.match(output, passed)
  })
}
