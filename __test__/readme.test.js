/**
 * This file runs every JavaScript block of README.md, and every example, as a user would.
 */
'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const test = require('node:test')

const { makeProject, root, runFile } = require('./project')

const readme = fs.readFileSync(path.join(root, 'README.md'), 'utf8')
const blocks = [...readme.matchAll(/^```(js|mjs)\n([^]*?)^```$/gm)].map(([, kind, code]) => ({ kind, code }))

/** It reads the terminal and runs three times: failover.test.js does so. */
const isPrintedExample = ({ code }) => code.startsWith('// app.js')

test('the README prints examples/app.js', () => {
  const printed = blocks.filter(isPrintedExample).map(({ code }) => code)
  assert.deepEqual(printed, [fs.readFileSync(path.join(root, 'examples', 'app.js'), 'utf8')])
})

blocks.forEach(({ kind, code }, i) => {
  if (isPrintedExample({ code })) return
  test(`block ${i + 1} of the README runs and ends by itself (${code.split('\n').length} lines)`, async t => {
    const file = path.join(makeProject(t), kind === 'mjs' ? 'block.mjs' : 'block.js')
    fs.writeFileSync(file, code)
    const { code: exitCode, output } = await runFile(file, { seconds: 30 })
    assert.equal(exitCode, 0, output)
  })
})

for (const name of ['lock.js', 'scheduler.js']) {
  test(`examples/${name} runs and ends by itself`, async () => {
    const { code, output } = await runFile(path.join(root, 'examples', name), { seconds: 30 })
    assert.equal(code, 0, output)
  })
}
