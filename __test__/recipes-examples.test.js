/**
 * Runs the examples of the coordination page as a user would.
 */
'use strict'

const assert = require('node:assert/strict')
const path = require('node:path')
const test = require('node:test')

const { root, runFile } = require('./project')

/** Of each, what it prints. */
const EXAMPLES = {
  'owner-dies.js':
    /^a holds the lock with token 1\na was killed; b holds the lock with token 2 after \d+ ms\n$/,
  'cron.js': /^(\S+: [abc] runs the report\n){2}$/,
  'presence.js': /^ann and bob see each other, at two servers\nann sees that bob has left\n$/,
  'fenced-worker.js':
    /^(row \d is written by ([abc]) with token (\d+)\n){6}a later leader has written: token \d+ is too old\n$/,
  'next-cache-handler.js': /^after revalidateTag on one process: \[ null, null, 'PAGE' \]\n$/
}

const NEEDS_SQLITE = new Set(['fenced-worker.js'])

function hasSQLite() {
  try {
    require('node:sqlite')
    return true
  } catch {
    return false
  }
}

for (const [name, expected] of Object.entries(EXAMPLES)) {
  const skip = NEEDS_SQLITE.has(name) && !hasSQLite() && 'node:sqlite needs Node 22.5'
  test(`examples/${name} does what it says, and ends by itself`, { skip }, async () => {
    const { code, output } = await runFile(path.join(root, 'examples', name), {
      seconds: 60,
      env: { NODE_NO_WARNINGS: '1' }
    })
    assert.equal(code, 0, output)
    assert.match(output, expected)
  })
}
