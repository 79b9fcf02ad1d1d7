// Shows the options of calls: `{ timeout, signal }`, what becomes of an aborted call, and that unknown ones throw.

'use strict'

const assert = require('node:assert/strict')
const { getEventListeners } = require('node:events')
const test = require('node:test')
const { setTimeout: delay } = require('node:timers/promises')

const { elected, openCluster, openOne, rejection, runScript, until } = require('./nodes')

/** A node that waits for a second one. */
function openLonely(t) {
  return openCluster(t, 1, { clusterSize: 2 })[0]
}

function assertAborted(error, outcome, cause) {
  assert.equal(error.name, 'AbortError')
  assert.equal(error.code, 'ABORT_ERR')
  assert.equal(error.outcome, outcome, error.message)
  assert.equal(error.cause, cause)
  assert.ok(error instanceof Error)
}

test('options of perform are an object, a number, or nothing', async t => {
  const node = openOne(t)
  const { signal } = new AbortController()
  for (const options of [{}, { timeout: 5000 }, { timeout: null, signal: null }, { signal }, 5000, null]) {
    assert.equal(await node.perform('append', ['x'], options), 'x')
  }
  const result = await new Promise(resolve =>
    node.perform('append', ['y'], { timeout: 5000, signal }, (...results) => resolve(results))
  )
  assert.deepEqual(result, [null, 'y'])
  assert.equal(getEventListeners(signal, 'abort').length, 0)

  const lonely = openLonely(t)
  const error = await rejection(lonely.perform('append', ['x'], { timeout: 10 }))
  assert.equal(error.code, 'ERR_CONFLUX_TIMEOUT')
  assert.equal(error.timeout, 10)
})

test('unknown options and wrong values are refused by every call, with the near name', async t => {
  const node = openOne(t)
  await node.ready()
  const calls = {
    perform: options => node.perform('append', ['x'], options),
    ready: node.ready,
    sync: node.sync,
    transferLeadership: options => node.transferLeadership('a', options),
    remove: options => node.remove('a', options),
    resize: options => node.resize(1, options),
    recover: options => node.recover({ iUnderstandThatActionsMayBeLost: true, ...options })
  }
  for (const [name, call] of Object.entries(calls)) {
    for (const [options, message] of [
      [{ timeuot: 1 }, 'the option "timeuot" is unknown; did you mean "timeout"?'],
      [{ colour: 1 }, /^the option "colour" is unknown; there are "timeout", "signal"/],
      [{ tiemout: 1 }, 'the option "tiemout" is unknown; did you mean "timeout"?'],
      [{ timeout: '1' }, /^the timeout must be a number of milliseconds/],
      [{ timeout: NaN }, /^the timeout must be a number of milliseconds/],
      [{ signal: new AbortController() }, 'the signal must be an AbortSignal, got an AbortController'],
      [{ signal: 'now' }, 'the signal must be an AbortSignal, got a string']
    ]) {
      const error = await rejection(call(options))
      assert.equal(error.code, 'ERR_CONFLUX_INVALID_ARGUMENT', name)
      assert.equal(error.outcome, 'not-applied')
      if (message instanceof RegExp) assert.match(error.message, message)
      else assert.equal(error.message, message)
    }
  }
  for (const options of [[], 'soon', 7]) {
    assert.equal((await rejection(node.ready(options))).code, 'ERR_CONFLUX_INVALID_ARGUMENT')
  }
  assert.throws(() => node.close({ timeuot: 1 }), {
    name: 'TypeError',
    message: 'the option "timeuot" is unknown; did you mean "timeout"?'
  })
  assert.deepEqual(node.getState(), [])
})

test('a signal that was aborted before rejects the call, which does not begin', async t => {
  const node = openOne(t)
  await node.ready()
  const reason = new Error('enough')
  const signal = AbortSignal.abort(reason)
  assertAborted(await rejection(node.perform('append', ['x'], { signal })), 'not-applied', reason)
  assertAborted(await rejection(node.ready({ signal })), 'not-applied', reason)
  assertAborted(await rejection(node.sync({ signal })), 'not-applied', reason)
  assertAborted(await rejection(node.resize(3, { signal })), 'not-applied', reason)
  await node.sync()
  assert.deepEqual(node.getState(), [])
  assert.equal(node.status().clusterSize, 1)
})

test('aborted in the turn of the call, it is not sent; those around it are', async t => {
  const node = openOne(t)
  await node.ready()
  for (const aborted of [[0], [1], [4], [0, 4], [1, 2, 3], [0, 1, 2, 3, 4]]) {
    const controllers = Array.from({ length: 5 }, () => new AbortController())
    const before = node.getState().length
    const ends = controllers.map(({ signal }, i) =>
      node.perform('append', [`thing, ${i}`], { signal }).catch(e => e)
    )
    assert.equal(node.status().pending, 5)
    for (const i of aborted) controllers[i].abort()
    assert.equal(node.status().pending, 5 - aborted.length)
    const results = await Promise.all(ends)
    const expected = []
    results.forEach((result, i) => {
      if (aborted.includes(i)) assertAborted(result, 'not-applied', controllers[i].signal.reason)
      else expected.push(`thing, ${i}`)
    })
    await node.sync()
    assert.deepEqual(node.getState().slice(before), expected)
  }
})

test('later, what has gone nowhere is not applied, and others of the same signal end alike', async t => {
  const node = openLonely(t)
  const controller = new AbortController()
  const { signal } = controller
  const performing = Array.from({ length: 50 }, (_, i) => rejection(node.perform('append', [i], { signal })))
  const waiting = [rejection(node.ready({ signal })), rejection(node.sync({ signal }))]
  const asking = rejection(node.resize(3, { signal }))
  assert.equal(getEventListeners(signal, 'abort').length, 1)
  await delay(20)
  controller.abort()
  for (const error of await Promise.all(performing)) assertAborted(error, 'not-applied', signal.reason)
  for (const error of await Promise.all(waiting)) assertAborted(error, 'not-applied', signal.reason)
  assertAborted(await asking, 'unknown', signal.reason)
  assert.equal(node.status().pending, 0)
})

test('a callback gets the AbortError, too', async t => {
  const node = openLonely(t)
  const controller = new AbortController()
  const ended = new Promise(resolve => node.perform('append', ['x'], { signal: controller.signal }, resolve))
  await delay(10)
  controller.abort()
  assertAborted(await ended, 'not-applied', controller.signal.reason)
})

test('the cause of AbortSignal.timeout is its reason', async t => {
  const node = openLonely(t)
  const error = await rejection(node.perform('append', ['x'], { signal: AbortSignal.timeout(20) }))
  assert.equal(error.cause.name, 'TimeoutError')
})

test('a signal has no listener of a call that has ended', async t => {
  const nodes = openCluster(t, 3)
  const { leader, followers } = await elected(nodes)
  const controller = new AbortController()
  const { signal } = controller
  await Promise.all([
    leader.perform('append', ['a'], { signal, timeout: 5000 }),
    followers[0].perform('append', ['b'], { signal }),
    rejection(followers[1].perform('zooby', [], { signal })),
    leader.sync({ signal }),
    leader.ready({ signal }),
    rejection(leader.remove('nobody', { signal }))
  ])
  assert.equal(getEventListeners(signal, 'abort').length, 0)
  controller.abort()
  await leader.perform('append', ['c'])
})

test('thousands of calls on one signal warn of no leak', async () => {
  const { code, stdout, stderr } = await runScript(`
    process.on('warning', ({ name }) => console.log(name))
    const node = conflux(options)
    const { signal } = new AbortController()
    Promise.all(Array.from({ length: 3000 }, (_, i) => node.perform('append', [i], { signal }))).then(() => node.close())
  `)
  assert.deepEqual([code, stdout, stderr], [0, '', ''])
})

test('a call that times out says what the node waits for', async t => {
  const node = openLonely(t)
  await until('a warning', () => node.status().waitingFor !== null)
  const { waitingFor } = node.status()
  const error = await rejection(node.perform('append', ['x'], 20))
  assert.equal(error.code, 'ERR_CONFLUX_TIMEOUT')
  assert.match(error.waitingFor, /2 nodes/)
  assert.equal(
    error.message,
    `performing \`append\`: the call timed out after 20 ms: ${error.waitingFor}; the call was never sent`
  )
  assert.match(waitingFor, /2 nodes/)
  const sync = await rejection(node.sync({ timeout: 20 }))
  assert.equal(sync.code, 'ERR_CONFLUX_NO_QUORUM')
  assert.match(sync.waitingFor, /2 nodes/)
})

test('one signal takes back many calls of a turn at once, and the others keep their order', async t => {
  const node = openOne(t)
  await node.ready()
  const controller = new AbortController()
  const results = Array.from({ length: 3000 }, (_, i) =>
    i % 3 === 0
      ? node.perform('append', [String(i)])
      : rejection(node.perform('append', [String(i)], { signal: controller.signal }))
  )
  controller.abort()
  const late = node.perform('append', ['late'])
  for (const [i, result] of (await Promise.all(results)).entries()) {
    if (i % 3 === 0) assert.equal(result, String(i))
    else assertAborted(result, 'not-applied', controller.signal.reason)
  }
  assert.equal(await late, 'late')
  const kept = Array.from({ length: 1000 }, (_, i) => String(3 * i))
  assert.deepEqual(node.getState(), [...kept, 'late'])
  assert.equal(node.status().pending, 0)
})
