// Runs every block of docs/coordination.md as a user would, and holds what it prints to what its comments say.

'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const test = require('node:test')

const { makeProject, root, runFile } = require('./project')

const page = fs.readFileSync(path.join(root, 'docs', 'coordination.md'), 'utf8')

const blocks = page
  .split(/^## /m)
  .flatMap(section =>
    [...section.matchAll(/^```js\n([^]*?)^```$/gm)].map(([, code]) => ({
      title: section.split('\n')[0],
      code
    }))
  )

for (const { title, code } of blocks) {
  test(`${title}: the block prints what it says, and ends by itself`, async t => {
    const file = path.join(makeProject(t), 'block.js')
    fs.writeFileSync(file, code)
    const { code: exitCode, output } = await runFile(file, { seconds: 60 })
    assert.equal(exitCode, 0, output)
    const said = [...code.matchAll(/console\.log\(.*\/\/ (.*)$/gm)].flatMap(([, line]) => line.split(', '))
    assert.deepEqual(output.split('\n').filter(Boolean), said)
  })
}

test('the page has examples', () => assert.ok(blocks.length > 0))
