/**
 * Is `npm test`: it installs, builds and runs everything. `npm test -- lock redis` runs only the JavaScript
 * tests whose file names contain one of the words.
 */
'use strict'

const fs = require('node:fs')
const path = require('node:path')

const { startRedisServer, obtainRedisServer } = require('./redis-server')
const { Stop, build, cargo, install, main, root, run, step, tool } = require('./steps')

main(async () => {
  const words = process.argv.slice(2)
  await install()
  await build()

  const env = { CONFLUX_REDIS_SERVER: obtainRedisServer() }
  const redis = await startRedisServer()
  env.CONFLUX_TEST_REDIS = redis.url
  try {
    if (words.length === 0) {
      await step('Rust tests', () => cargo(['test', '--locked'], { env }))
      await step('Types', () => tool('typescript', 'tsc', ['--project', 'tsconfig.json']))
    }
    const files = testFiles(words)
    await step(`JavaScript tests (${files.length} files)`, () =>
      run(process.execPath, ['--test', '--test-reporter=spec', ...files], {
        env,
        // A few files may be asked to continue for long (docs/reliability.md).
        minutes: words.length > 0 ? 240 : 40
      })
    )
    if (words.length === 0) {
      await step('Nemesis, the short run', () => run(process.execPath, ['nemesis/nemesis.js'], { env }))
    }
  } finally {
    await redis.kill()
  }
})

function testFiles(words) {
  const files = fs
    .readdirSync(path.join(root, '__test__'))
    .filter(name => name.endsWith('.test.js'))
    .filter(name => words.length === 0 || words.some(word => name.includes(word)))
    .map(name => path.join('__test__', name))
  if (files.length === 0) throw new Stop(`No file in __test__ has a name with: ${words.join(', ')}.`)
  return files
}
