// Shows when listeners are called, and that none can harm another.

'use strict'

const assert = require('node:assert/strict')
const { getEventListeners } = require('node:events')
const test = require('node:test')

const { elected, openCluster, openOne, runScript, until } = require('./nodes')

test('a listener is called once for every committed action, on every node, with that action', async t => {
  const nodes = openCluster(t, 3)
  const calls = nodes.map(() => [])
  nodes.forEach((node, i) =>
    node.subscribe(function (...args) {
      assert.equal(this, undefined)
      const [{ action, index }, ...rest] = args
      assert.deepEqual(rest, [])
      assert.equal(action, node.getState().at(-1))
      assert.equal(node.status().appliedIndex, index)
      calls[i].push(node.getState().length)
    })
  )
  await elected(nodes)
  await Promise.all(nodes.map(node => node.perform('append', ['x'])))
  await until('every node to hear of three actions', () => calls.every(lengths => lengths.length === 3))
  for (const lengths of calls) assert.deepEqual(lengths, [1, 2, 3])
})

test('unsubscribe ends one registration, is idempotent, and works inside a listener', async t => {
  const node = openOne(t)
  const calls = []
  const twice = () => calls.push('twice')
  const first = node.subscribe(twice)
  node.subscribe(twice)
  const once = node.subscribe(() => {
    calls.push('once')
    once()
    never()
    node.subscribe(() => calls.push('later'))
  })
  const never = node.subscribe(() => calls.push('never'))
  first()
  first()
  await node.perform('append', ['x'])
  assert.deepEqual(calls, ['twice', 'once'])
  await node.perform('append', ['x'])
  assert.deepEqual(calls.slice(2), ['twice', 'later'])
})

test('perform is fine in a listener', async t => {
  const node = openOne(t)
  let performing
  const unsubscribe = node.subscribe(() => {
    unsubscribe()
    performing = node.perform('append', ['second'])
  })
  await node.perform('append', ['first'])
  await performing
  assert.deepEqual(node.getState(), ['first', 'second'])
})

test('close in a listener is fine, and no listener runs after it', async t => {
  const node = openOne(t)
  const calls = []
  let closing
  node.subscribe(() => {
    calls.push('first')
    closing = node.close()
  })
  node.subscribe(() => calls.push('second'))
  await node.perform('append', ['x'])
  await closing
  assert.deepEqual(calls, ['first'])
  assert.deepEqual(node.getState(), ['x'])
})

test('what is no function is refused at once', t => {
  const node = openOne(t)
  for (const listener of ['x', undefined, null, {}, []]) {
    assert.throws(() => node.subscribe(listener), { name: 'TypeError', code: 'ERR_CONFLUX_INVALID_ARGUMENT' })
  }
  assert.throws(() => node.subscribe('leader', () => {}), {
    message: '`subscribe` takes a function, got a string'
  })
  for (const options of [{ once: true }, { signal: new AbortController() }, () => {}, 'x']) {
    assert.throws(() => node.subscribe(() => {}, options), {
      name: 'TypeError',
      code: 'ERR_CONFLUX_INVALID_ARGUMENT'
    })
  }
})

test('a signal ends a subscription, and is let go with it and with the node', async t => {
  const node = openOne(t)
  const controller = new AbortController()
  const { signal } = controller
  const calls = []
  node.subscribe(({ action }) => calls.push(`first ${action}`), { signal })
  const unsubscribe = node.subscribe(({ action }) => calls.push(`second ${action}`), { signal })
  node.subscribe(() => calls.push('never'), { signal: AbortSignal.abort() })
  await node.perform('append', ['x'])
  unsubscribe()
  await node.perform('append', ['y'])
  assert.deepEqual(calls, ['first x', 'second x', 'first y'])
  controller.abort()
  assert.equal(getEventListeners(signal, 'abort').length, 0)
  await node.perform('append', ['z'])
  assert.equal(calls.length, 3)

  const other = new AbortController()
  node.subscribe(() => {}, { signal: other.signal })
  node.watch(
    state => state.length,
    () => {},
    { signal: other.signal }
  )
  assert.equal(getEventListeners(other.signal, 'abort').length, 1)
  await node.close()
  assert.equal(getEventListeners(other.signal, 'abort').length, 0)
})

test('several listeners can be passed one after the other, as in 1.x', async t => {
  const node = openOne(t)
  const calls = []
  const listeners = ['a', 'b'].map(name => () => calls.push(name))
  listeners.forEach(node.subscribe)
  await node.perform('append', ['x'])
  assert.deepEqual(calls, ['a', 'b'])
})

test('what a listener throws is an uncaught exception, once the others have run; the call resolves', async () => {
  const { code, stdout, stderr } = await runScript(`
    const node = conflux(options)
    process.on('uncaughtException', error => console.log('uncaught', error.message))
    node.subscribe(() => { throw new Error('first') })
    node.subscribe(() => { throw new Error('second') })
    node.subscribe(() => console.log('third'))
    node.perform('append', ['x']).then(() => {
      console.log('resolved', node.getState())
      return node.perform('append', ['y'])
    }).then(() => node.close())
  `)
  const lines = stdout.trim().split('\n')
  assert.deepEqual(lines.slice().sort(), [
    "resolved [ 'x' ]",
    'third',
    'third',
    'uncaught first',
    'uncaught first',
    'uncaught second',
    'uncaught second'
  ])
  assert.equal(lines[0], 'third')
  assert.deepEqual([code, stderr], [0, ''])
})

test('without a handler the process ends as any Node process does', async () => {
  const { code, stderr } = await runScript(`
    conflux(options).subscribe(() => { throw new Error('unhandled') })
    conflux({ ...options, id: 'b', channel: { name: 'memory', channelName: 'b' } }).subscribe(() => {})
    const node = conflux({ ...options, id: 'c', channel: { name: 'memory', channelName: 'c' } })
    node.subscribe(() => { throw new Error('unhandled') })
    node.perform('append', ['x'])
  `)
  assert.equal(code, 1)
  assert.match(stderr, /Error: unhandled/)
})

test('what a callback throws is an uncaught exception, not a rejection', async () => {
  const { code, stdout } = await runScript(`
    const node = conflux(options)
    process.on('uncaughtException', (error, origin) => {
      console.log(origin, error.message)
      node.close()
    })
    node.perform('append', ['x'], () => { throw new Error('in the callback') })
  `)
  assert.equal(stdout, 'uncaughtException in the callback\n')
  assert.equal(code, 0)
})

test('a rejection given to a callback is handled', async () => {
  const { code, stdout, stderr } = await runScript(`
    const node = conflux(options)
    node.perform('zooby', [], error => {
      console.log(String(error))
      node.close()
    })
    node.perform('append', 'not an array', error => console.log(error.code))
  `)
  assert.equal(stdout, 'ERR_CONFLUX_INVALID_ARGUMENT\nError: zooby is not a registered method\n')
  assert.deepEqual([code, stderr], [0, ''])
})
