// Shows that whatever a call is rejected with leads to its caller.

'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')

const conflux = require('..')
const { elected, openCluster, openOne, rejection, runScript, until } = require('./nodes')

const methods = {
  no: () => new Error('no'),
  throws() {
    throw new TypeError('thrown')
  },
  add: n => n
}

const options = { methods, initialState: 0, reduce: (sum, n) => sum + n }

/** Each calls in a way of its own; what it resolves with is the error. */
const CALLERS = {
  async awaited(call) {
    try {
      await call()
    } catch (error) {
      return error
    }
  },
  async caught(call) {
    return await call().catch(error => error)
  },
  async inAll(call) {
    return await Promise.all([call()]).then(
      () => assert.fail('it resolved'),
      error => error
    )
  },
  async returned(call) {
    const inner = async () => call()
    return rejection(inner())
  }
}

for (const [how, caller] of Object.entries(CALLERS)) {
  test(`a rejection that is ${how} has its caller's frames, on the leader and on the others`, async t => {
    const nodes = openCluster(t, 3, options)
    const { leader, followers } = await elected(nodes)
    for (const node of [leader, followers[0]]) {
      for (const method of ['no', 'throws', 'zooby']) {
        const error = await caller(() => node.perform(method))
        assert.ok(error.stack.startsWith(`Error: ${error.message}\n`), error.stack)
        assert.match(error.stack, /call-stack\.test\.js/, `${how}: ${error.stack}`)
      }
    }
  })
}

test('so have a timeout, an abort, an end, a wrong call, and calls that ask the cluster', async t => {
  const [lonely] = openCluster(t, 1, { ...options, clusterSize: 2 })
  const controller = new AbortController()
  const { signal } = controller
  setTimeout(() => controller.abort(), 20)
  async function theCaller() {
    return [
      await rejection(lonely.perform('add', [1], 10)),
      await rejection(lonely.perform('add', [1], { signal })),
      await rejection(lonely.perform('add', 'wrong')),
      await rejection(lonely.ready({ timeout: 1 })),
      await rejection(lonely.sync({ timeout: 1 }))
    ]
  }
  for (const error of await theCaller())
    assert.match(error.stack, /theCaller .*call-stack\.test\.js/, error.stack)
  async function closes() {
    const performing = lonely.perform('add', [1])
    lonely.close({ timeout: 0 })
    await performing
  }
  const closed = await rejection(closes())
  assert.equal(closed.code, 'ERR_CONFLUX_CLOSED')
  assert.match(closed.stack, /closes .*call-stack\.test\.js/)
})

test('a callback and a handler that nothing awaits see the caller, too', async t => {
  const node = openOne(t, options)
  const fromCallback = await new Promise(function withCallback(resolve) {
    node.perform('no', [], resolve)
  })
  assert.match(fromCallback.stack, /^Error: no\n +at withCallback \(.*call-stack\.test\.js/)
  let fromHandler
  function withHandler() {
    node.perform('no').catch(error => (fromHandler = error))
  }
  withHandler()
  await until('the rejection', () => fromHandler !== undefined)
  assert.match(fromHandler.stack, /^Error: no\n +at withHandler \(.*call-stack\.test\.js/)
})

test('under load an awaited rejection still has them', async t => {
  const node = openOne(t, { ...options })
  await node.ready()
  async function oneOfMany() {
    return await rejection(node.perform('no'))
  }
  const errors = await Promise.all(Array.from({ length: 20_000 }, oneOfMany))
  assert.equal(errors.filter(({ stack }) => /oneOfMany/.test(stack)).length, 20_000)
})

test('captureStacks: always, or never', async t => {
  for (const captureStacks of [true, false]) {
    const node = openOne(t, { ...options, captureStacks })
    await node.ready()
    const errors = []
    function caller() {
      node.perform('no').catch(error => errors.push(error))
    }
    for (let i = 0; i < 20_000; i++) caller()
    await node.perform('add', [1])
    await node.sync()
    assert.equal(errors.length, 20_000)
    assert.equal(errors.filter(({ stack }) => /at caller /.test(stack)).length, captureStacks ? 20_000 : 0)
  }
})

test('a rejection without a handler is unhandled, once, and shows the caller', async () => {
  const { code, stdout } = await runScript(`
    process.on('unhandledRejection', error => console.log(error.code, /at .*theCaller/.test(error.stack)))
    const node = conflux(options)
    async function theCaller() { await node.perform('zooby') }
    theCaller()
    node.perform('append', ['x']).then(() => node.close())
  `)
  assert.deepEqual([code, stdout], [0, 'ERR_CONFLUX_UNKNOWN_METHOD true\n'])
})

test('a stack that the application makes something else of does no harm', async () => {
  const { code, stdout } = await runScript(`
    Error.prepareStackTrace = (error, frames) => frames
    const first = conflux(options)
    async function run() {
      console.log((await first.perform('zooby').catch(error => error)).code)
      await new Promise(resolve => first.perform('zooby', [], error => resolve(console.log(error.code))))
      Error.captureStackTrace = () => { throw new Error('forbidden') }
      console.log((await first.perform('zooby').catch(error => error)).code)
      Error.stackTraceLimit = 0
      console.log((await first.perform('zooby').catch(error => error)).code)
      await first.close()
    }
    run()
  `)
  assert.deepEqual([code, stdout], [0, 'ERR_CONFLUX_UNKNOWN_METHOD\n'.repeat(4)])
})

test('captureStacks is true or false', () => {
  assert.throws(
    () => conflux({ id: 'a', clusterSize: 1, channel: { name: 'memory' }, ...options, captureStacks: 'yes' }),
    { message: 'Invalid options: "captureStacks" must be true or false, got a string' }
  )
})
