// This file compiles the types as bundlers see them; `npm test` compiles them as Node does (tsconfig.json).

'use strict'

const assert = require('node:assert/strict')
const { spawnSync } = require('node:child_process')
const path = require('node:path')
const test = require('node:test')

test('the types hold under the module resolution of bundlers', () => {
  const compiler = require.resolve('typescript/bin/tsc')
  const project = path.join(__dirname, 'tsconfig.bundler.json')
  const { status, stdout } = spawnSync(process.execPath, [compiler, '--project', project], {
    encoding: 'utf8'
  })
  assert.equal(status, 0, stdout)
})
