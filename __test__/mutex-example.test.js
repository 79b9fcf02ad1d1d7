/**
 * Holds examples/mutex.js to the API of mutex-js, and runs the fuzzer of that package: many processes increment a value in
 * critical sections, and no update is lost.
 */
'use strict'

const assert = require('node:assert/strict')
const { randomUUID } = require('node:crypto')
const fs = require('node:fs')
const path = require('node:path')
const test = require('node:test')
const { setTimeout: delay } = require('node:timers/promises')

const { startRedisServer } = require('../scripts/redis-server')
const { makeProject, root, runFile } = require('./project')

/** Rounds of the fuzzer; CONFLUX_FUZZ_ROUNDS for a longer run. */
const ROUNDS = Number(process.env.CONFLUX_FUZZ_ROUNDS ?? 2)

/** The example, as an application would require it. */
function load(t) {
  const folder = makeProject(t)
  fs.copyFileSync(path.join(root, 'examples', 'mutex.js'), path.join(folder, 'mutex.js'))
  return require(path.join(folder, 'mutex.js'))
}

function open(t, size, channel = { name: 'memory', channelName: randomUUID() }) {
  const mutex = load(t)
  const nodes = Array.from({ length: size }, () =>
    mutex({ id: randomUUID(), strategy: { name: 'raft', clusterSize: size, channel } })
  )
  t.after(() => Promise.all(nodes.map(node => node.close())))
  return nodes
}

test('examples/mutex.js runs and ends by itself', async () => {
  const { code, output } = await runFile(path.join(root, 'examples', 'mutex.js'), { seconds: 30 })
  assert.equal(code, 0, output)
})

test('a lock has a key, and is valid for at least the duration', async t => {
  const [a] = open(t, 1)
  const lock = await a.lock('k', { duration: 1000, maxWait: 5000 })
  assert.equal(lock.getKey(), 'k')
  assert.equal(lock.isValidForDuration(1000), true)
  assert.equal(lock.isValidForDuration(3001), false)
  const left = lock.getTTL() - Date.now()
  assert.ok(left > 2000 && left <= 3000, `the lease ends in ${left} ms`)
  assert.equal(await a.unlock(lock), undefined)
  assert.equal(lock.isValidForDuration(0), false)
})

test('callbacks work like promises', async t => {
  const [a] = open(t, 1)
  const lock = await new Promise((resolve, reject) =>
    a.lock('k', { maxWait: 5000 }, (error, lock) => (error ? reject(error) : resolve(lock)))
  )
  await new Promise((resolve, reject) => a.unlock(lock, error => (error ? reject(error) : resolve())))
  await new Promise((resolve, reject) =>
    a.lock('k', (error, lock) => (error ? reject(error) : resolve(lock)))
  )
  const error = await new Promise(resolve => a.lock('k', { maxWait: 10 }, resolve))
  assert.equal(String(error), 'Error: The lock could not be granted in time')
  await new Promise(resolve => a.close(resolve))
})

test('a lock that another process holds is not granted, until that unlocks', async t => {
  const [a, b] = open(t, 2)
  const lock = await a.lock('k', { duration: 20000, maxWait: 5000 })
  await assert.rejects(b.lock('k', { duration: 5000, maxWait: 100 }), {
    message: 'The lock could not be granted in time'
  })
  const waiting = b.lock('k', { maxWait: 5000 })
  await a.unlock(lock)
  const next = await waiting
  assert.ok(next.token > lock.token)
  await a.unlock(lock)
  assert.equal(next.isValidForDuration(1), true, 'unlocking twice releases nothing of another owner')
})

test('what is invalid is rejected as in mutex-js', async t => {
  const mutex = load(t)
  assert.throws(() => mutex(), /^Error: Invalid options: "id" is required$/)
  assert.throws(
    () => mutex({ id: 'a', strategy: { name: 'paxos' } }),
    /^Error: Invalid options: "strategy.name" must be/
  )
  const [a] = open(t, 1)
  const text = promise => promise.then(assert.fail, String)
  assert.equal(await text(a.lock('k', { maxWait: 'a' })), 'Invalid options: "maxWait" must be a number')
  assert.equal(
    await text(a.unlock('should be a lock object')),
    'unlock() expects the Lock object returned from lock()'
  )
  await a.close()
  assert.equal(await text(a.lock('k')), 'Error: This instance has been closed')
  assert.equal(await text(a.unlock({})), 'Error: This instance has been closed')
})

/** The fuzzer of mutex-js: ten processes, each increments twice, 60 ms in a critical section that reads and then writes. */
async function fuzz(nodes, increments) {
  const key = `fuzz-${randomUUID()}`
  let value = 0
  await Promise.all(
    nodes.map(async node => {
      for (let done = 0; done < increments;) {
        // Only locks that were granted count; one that was not is asked for again.
        const lock = await node.lock(key, { maxWait: 10000, duration: 5000 }).catch(() => undefined)
        if (lock === undefined || !lock.isValidForDuration(5000)) continue
        await delay(15)
        const read = value
        await delay(15)
        await delay(15)
        const before = value
        value = read + 1
        assert.notEqual(before, value, 'an update was lost')
        await delay(15)
        done++
        await node.unlock(lock)
      }
    })
  )
  assert.equal(value, nodes.length * increments)
}

test('the fuzzer finds no lost update', async t => {
  const redis = await startRedisServer()
  t.after(() => redis.kill())
  for (let round = 0; round < ROUNDS; round++) {
    const channel = { name: 'redis', connectionString: redis.url, channelName: randomUUID() }
    const nodes = open(t, 10, channel)
    await fuzz(nodes, 2)
    await Promise.all(nodes.map(node => node.close()))
  }
})

test('the fuzzer finds a mutex that is none', async () => {
  const none = { lock: async () => ({ isValidForDuration: () => true }), unlock: async () => {} }
  await assert.rejects(fuzz([none, none], 2), /an update was lost/)
})
