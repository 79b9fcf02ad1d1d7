/**
 * Tests that `close({ timeout })` ends within its timeout while a disk hangs on which the log is being read, and
 * while Redis is frozen.
 */
'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const test = require('node:test')

const conflux = require('..')
const { libraryOfDisk, writeDiskDelay } = require('../nemesis/disk-delay')
const { startRedisServer } = require('../scripts/redis-server')
const { makeProject, runFile } = require('./project')

const TIMEOUT_MS = 300
/** Far more than the timeout, and far less than what does not answer takes. */
const CLOSED_WITHIN_MS = 5000
const HANGS_MS = 600_000

const counter = { methods: { add: () => 1 }, reduce: (sum = 0, n) => sum + (n ?? 0) }

/** A node with storage. It closes after CLOSE_AFTER milliseconds, or once it has written. */
const PROGRAM = `
  const conflux = require('conflux')
  const node = conflux({
    id: 'a', clusterSize: 1, channel: { name: 'memory' }, storage: { path: 'data' },
    methods: { add: text => text }, reduce: (sum = 0, text) => sum + (text?.length ?? 0)
  })
  async function close () {
    const begun = performance.now()
    const { waitingFor } = node.status()
    await node.close({ timeout: ${TIMEOUT_MS} })
    console.log(JSON.stringify({ took: performance.now() - begun, waitingFor, state: node.status().state }))
  }
  if (process.env.CLOSE_AFTER === 'write') {
    Promise.all(Array.from({ length: 20 }, () => node.perform('add', ['x'.repeat(1e6)]))).then(close)
  } else {
    setTimeout(close, Number(process.env.CLOSE_AFTER))
  }
`

for (const after of [0, 500]) {
  const skip = libraryOfDisk() === null && 'needs Linux and a C compiler'
  test(`close holds its time ${after} ms after a start whose log is being read`, { skip }, async t => {
    const folder = makeProject(t)
    const file = path.join(folder, 'node.js')
    fs.writeFileSync(file, PROGRAM)
    const delayFile = path.join(folder, 'delay')
    const env = { LD_PRELOAD: libraryOfDisk(), DISK_DELAY_FILE: delayFile }
    writeDiskDelay(delayFile, 0)
    const written = await runFile(file, { env: { ...env, CLOSE_AFTER: 'write' } })
    assert.equal(written.code, 0, written.output)

    writeDiskDelay(delayFile, HANGS_MS)
    const { code, output } = await runFile(file, { seconds: 20, env: { ...env, CLOSE_AFTER: String(after) } })
    assert.equal(code, 0, output)
    const { took, waitingFor, state } = JSON.parse(output)
    assert.deepEqual([state, waitingFor], ['closed', 'reading its storage'])
    assert.ok(took < CLOSED_WITHIN_MS, `${took} ms`)
  })
}

for (const [when, isFrozenFirst] of [
  ['while all are under load', false],
  ['before any is connected', true]
]) {
  test(`close holds its time where Redis freezes ${when}`, async t => {
    const redis = await startRedisServer()
    t.after(() => (redis.thaw(), redis.kill()))
    if (isFrozenFirst) redis.freeze()
    const channel = { name: 'redis', port: redis.port }
    const nodes = ['a', 'b', 'c'].map(id => conflux({ id, clusterSize: 3, channel, ...counter }))
    const calls = nodes.map(node =>
      node
        .on('warning', () => {})
        .perform('add')
        .catch(error => error)
    )
    if (!isFrozenFirst) {
      await Promise.all(calls)
      redis.freeze()
    }
    const pending = nodes.map(node => node.perform('add').catch(error => error))
    const begun = performance.now()
    await Promise.all(nodes.map(node => node.close({ timeout: TIMEOUT_MS })))
    assert.ok(performance.now() - begun < CLOSED_WITHIN_MS)
    for (const error of await Promise.all(pending)) assert.equal(error.code, 'ERR_CONFLUX_CLOSED')
  })
}
