// Runs every block of docs/coordination.md as a user would, and holds what it prints to what its comments say.

'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const { isBuiltin } = require('node:module')
const path = require('node:path')
const test = require('node:test')

const { makeProject, root, runFile } = require('./project')

const page = fs.readFileSync(path.join(root, 'docs', 'coordination.md'), 'utf8')

const blocks = page.split(/^## /m).flatMap(section =>
  [...section.matchAll(/^```js\n([^]*?)^```$/gm)].map(([, code]) => ({
    title: section.split('\n')[0],
    code
  }))
)

/** `// committed` behind a call of `console.log` is a line that is printed; `// 1, 2` are two. */
const printedBy = code =>
  [...code.matchAll(/console\.log\(.*\) \/\/ (.*)$/gm)].flatMap(([, lines]) => lines.split(', '))

test('the page has blocks', () => assert.ok(blocks.length >= 4))

for (const { title, code } of blocks) {
  const needsSqlite = code.includes('node:sqlite') && !isBuiltin('node:sqlite')
  test(
    `${title}: the block runs, prints what it says, and ends by itself`,
    { skip: needsSqlite },
    async t => {
      const file = path.join(makeProject(t), 'block.js')
      fs.writeFileSync(file, code)
      const { code: exitCode, output } = await runFile(file, { seconds: 60 })
      assert.equal(exitCode, 0, output)
      for (const line of printedBy(code)) assert.ok(output.split('\n').includes(line), output)
    }
  )
}
