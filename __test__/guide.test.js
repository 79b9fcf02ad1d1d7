// Runs every block of docs/guide.md as a user would, and holds what it prints to what its comments say.

'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const test = require('node:test')

const { startRedisServer } = require('../scripts/redis-server')
const { makeProject, root, runFile } = require('./project')

const page = fs.readFileSync(path.join(root, 'docs', 'guide.md'), 'utf8')

/** `{ title, kind, code }`: the title is that of the section. */
const blocks = page.split(/^## /m).flatMap(section =>
  [...section.matchAll(/^```(js|mjs)\n([^]*?)^```$/gm)].map(([, kind, code]) => ({
    title: section.split('\n')[0],
    kind,
    code
  }))
)

/** What a comment behind a call says that is printed: `// committed apples, apples 0 1` are two lines. */
const PRINTED = {
  'Reacting to changes': ['committed apples', 'apples 0 1', 'committed pears'],
  'Late listeners': ['the leader is a'],
  'A state that did not change': ['new', 'nothing new'],
  'Retrying a call whose outcome is unknown': ['70'],
  'The process and its nodes': ['2'],
  AsyncLocalStorage: ['ann', 'hello, by ann'],
  'Server-sent events': [`[ 'data: ["first"]', 'data: "second"' ]`],
  'Next and other development servers': [],
  'node:cluster': [],
  'Worker threads': ['all threads agree'],
  'One store or many': ['2 1']
}

test('every block is known, and its comments say what it prints', () => {
  assert.deepEqual(
    blocks.map(({ title }) => title),
    Object.keys(PRINTED)
  )
  for (const { title, code } of blocks) {
    for (const line of PRINTED[title])
      assert.match(code, new RegExp(`// .*${line.replace(/[[\]()?*+.\\]/g, '\\$&')}`))
  }
})

for (const { title, kind, code } of blocks) {
  test(`${title}: the block runs, prints what it says, and ends by itself`, async t => {
    const file = path.join(makeProject(t), `block.${kind}`)
    fs.writeFileSync(file, code)
    const env = {}
    if (code.includes('process.env.REDIS')) {
      const redis = await startRedisServer()
      t.after(() => redis.kill())
      env.REDIS = redis.url
    }
    const { code: exitCode, output } = await runFile(file, { seconds: 60, env })
    assert.equal(exitCode, 0, output)
    assert.deepEqual(output.split('\n').filter(Boolean), PRINTED[title])
  })
}
