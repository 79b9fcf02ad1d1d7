/**
 * Runs conflux 1.1.8's own tests of its public API, unchanged, against this package.
 */
'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const test = require('node:test')

const { makeProject, root, runFile } = require('./project')

/** Each file with the number of assertions that it plans; 1.x wrote them for `tap`, here `tape` runs them. */
const FILES = [
  ['options-validation.js', 1],
  ['perform-methods.js', 16]
]

for (const [name, assertions] of FILES) {
  test(`conflux 1.1.8's ${name} passes`, async t => {
    // The file says require('../'): one folder up lies this package.
    const folder = makeProject(t)
    fs.writeFileSync(path.join(folder, 'index.js'), "module.exports = require('conflux')\n")
    fs.mkdirSync(path.join(folder, 'test'))
    const copy = path.join(folder, 'test', name)
    fs.copyFileSync(path.join(root, 'node_modules', 'conflux-1', 'test', name), copy)

    const { code, output } = await runFile(copy, { env: { NODE_PATH: path.join(root, 'node_modules') } })

    assert.equal(code, 0, output)
    assert.match(output, new RegExp(`^# tests ${assertions}$`, 'm'), output)
    assert.match(output, new RegExp(`^# pass +${assertions}$`, 'm'), output)
    assert.doesNotMatch(output, /^not ok/m, output)
  })
}
