// Shows `node.watch`: a listener that is called when the part of the state that it selects has changed.

'use strict'

const assert = require('node:assert/strict')
const { getEventListeners } = require('node:events')
const test = require('node:test')

const { elected, makeFolder, openCluster, openOne, runScript, until } = require('./nodes')

const options = {
  methods: { set: (key, value) => ({ key, value }) },
  initialState: { a: 0, b: 0 },
  reduce: (state, { key, value }) => ({ ...state, [key]: value })
}

test('it is called with the new value and the one before, only for changes of its part, before perform resolves', async t => {
  const nodes = openCluster(t, 3, options)
  await elected(nodes)
  for (const node of nodes) {
    await node.sync()
    const before = node.getState().a
    const calls = []
    const unwatch = node.watch(
      state => state.a,
      (value, previous) => calls.push([value, previous])
    )
    await node.perform('set', ['b', before])
    assert.deepEqual(calls, [])
    await node.perform('set', ['a', before + 1])
    assert.deepEqual(calls, [[before + 1, before]])
    await node.perform('set', ['a', before + 1])
    await node.perform('set', ['a', before + 2])
    assert.deepEqual(calls.slice(1), [[before + 2, before + 1]])
    unwatch()
    unwatch()
    await node.perform('set', ['a', before + 3])
    assert.equal(calls.length, 2)
  }
})

test('`equals` decides what is a change', async t => {
  const node = openOne(t, options)
  const calls = []
  node.watch(
    state => [state.a],
    value => calls.push(value),
    { equals: ([a], [b]) => a === b }
  )
  const always = []
  node.watch(
    state => [state.a],
    value => always.push(value)
  )
  await node.perform('set', ['b', 1])
  await node.perform('set', ['a', 1])
  assert.deepEqual(calls, [[1]])
  assert.deepEqual(always, [[0], [1]])
  const notANumber = []
  node.watch(
    () => NaN,
    value => notANumber.push(value)
  )
  await node.perform('set', ['a', 2])
  assert.deepEqual(notANumber, [])
})

test('a signal ends it, and is let go with it', async t => {
  const node = openOne(t, options)
  const controller = new AbortController()
  const calls = []
  const watch = signal =>
    node.watch(
      state => state.a,
      value => calls.push(value),
      { signal }
    )
  watch(controller.signal)
  const unwatch = watch(controller.signal)
  unwatch()
  await node.perform('set', ['a', 1])
  assert.deepEqual(calls, [1])
  controller.abort()
  assert.equal(getEventListeners(controller.signal, 'abort').length, 0)
  watch(AbortSignal.abort())
  await node.perform('set', ['a', 2])
  assert.deepEqual(calls, [1])
})

test('watching and unwatching inside a listener, and closing, are fine', async t => {
  const node = openOne(t, options)
  const calls = []
  const first = node.watch(
    state => state.a,
    () => {
      calls.push('first')
      first()
      second()
      node.watch(
        state => state.a,
        value => calls.push(`third ${value}`)
      )
    }
  )
  const second = node.watch(
    state => state.a,
    () => calls.push('second')
  )
  await node.perform('set', ['a', 1])
  assert.deepEqual(calls, ['first'])
  await node.perform('set', ['a', 2])
  assert.deepEqual(calls, ['first', 'third 2'])
  let closing
  node.watch(
    state => state.b,
    () => (closing = node.close())
  )
  node.watch(
    state => state.b,
    () => calls.push('too late')
  )
  await node.perform('set', ['b', 1])
  await closing
  assert.deepEqual(calls, ['first', 'third 2'])
  assert.throws(() => node.watch(String, String), { code: 'ERR_CONFLUX_CLOSED' })
})

test('wrong arguments are refused at once, and so is what the selector throws at first', t => {
  const node = openOne(t, options)
  const invalid = { name: 'TypeError', code: 'ERR_CONFLUX_INVALID_ARGUMENT' }
  for (const args of [[], [String], ['a', String], [String, String, { equals: true }]]) {
    assert.throws(() => node.watch(...args), invalid)
  }
  assert.throws(() => node.watch(String, String, { equal: Object.is }), {
    ...invalid,
    message: 'the option "equal" is unknown; did you mean "equals"?'
  })
  assert.throws(() => node.watch(state => state.nobody.name, String), {
    name: 'TypeError',
    message: /nobody|name/
  })
})

test('what a selector or a listener throws is an uncaught exception, once the others have run', async () => {
  const { code, stdout } = await runScript(`
    process.on('uncaughtException', error => console.log('uncaught', error.message))
    const node = conflux(options)
    node.watch(state => { if (state.length === 1) throw new Error('selector'); return state.length }, () => {})
    node.watch(state => state.length, () => { throw new Error('listener') })
    node.watch(state => state.length, length => console.log('third', length))
    node.perform('append', ['x']).then(() => node.close())
  `)
  assert.deepEqual([code, stdout], [0, 'third 1\nuncaught selector\nuncaught listener\n'])
})

test('a node that restarts from its disk reports its state once the log is replayed', async t => {
  const folder = makeFolder(t)
  const durable = { ...options, storage: { path: folder } }
  const before = openOne(t, durable)
  await before.perform('set', ['a', 7])
  await before.close()
  const after = openOne(t, durable)
  const calls = []
  after.watch(
    state => state.a,
    (value, previous) => calls.push([value, previous])
  )
  await after.ready()
  assert.deepEqual(calls, [[7, undefined]])
  await after.close()
})

test('ten thousand watchers under load miss no last value, and take a share of the time', async t => {
  const node = openOne(t, { ...options, checkState: false })
  await node.ready()
  let selected = 0
  const seen = []
  for (let i = 0; i < 10_000; i++) {
    node.watch(
      state => {
        selected++
        return state.none
      },
      () => assert.fail('nothing has changed')
    )
  }
  node.watch(
    state => state.a,
    value => seen.push(value)
  )
  selected = 0
  await Promise.all(Array.from({ length: 20_000 }, (_, i) => node.perform('set', ['a', i + 1])))
  await until('the last value', () => seen.at(-1) === 20_000)
  assert.deepEqual(
    seen,
    seen.toSorted((a, b) => a - b)
  )
  // Each after each action would be two hundred million.
  assert.ok(selected < 20_000_000, `${selected} selections`)
})
