// Shows that a node is an EventEmitter with all of Node's functions, and that no listener ends the process.

'use strict'

const assert = require('node:assert/strict')
const events = require('node:events')
const test = require('node:test')

const { openCluster, openOne, rejection, runScript } = require('./nodes')

test('a node is an EventEmitter; what Node keeps in it is not seen', t => {
  const node = openOne(t)
  assert.ok(node instanceof events.EventEmitter)
  for (const [key, value] of Object.entries(node)) assert.equal(typeof value, 'function', key)
  for (const name of Object.keys(events.EventEmitter.prototype)) {
    if (!name.startsWith('_')) assert.ok(Object.hasOwn(node, name), `${name} is not bound`)
  }
})

test('events.once resolves with the event, and rejects when its signal is aborted', async t => {
  const [node] = openCluster(t, 1, { clusterSize: 2 })
  const controller = new AbortController()
  const waiting = events.once(node, 'leader', { signal: controller.signal })
  controller.abort()
  assert.equal((await rejection(waiting)).name, 'AbortError')
  assert.equal(node.listenerCount('leader'), 0)
  assert.deepEqual(await events.once(openOne(t), 'leader'), ['a'])
})

test('events.on iterates over events until its signal is aborted', async t => {
  const node = openOne(t)
  const controller = new AbortController()
  const roles = []
  const error = await rejection(
    (async () => {
      for await (const [role] of events.on(node, 'role', { signal: controller.signal })) {
        roles.push(role)
        if (role === 'leader') controller.abort()
      }
    })()
  )
  assert.equal(error.name, 'AbortError')
  assert.equal(roles.at(-1), 'leader')
  assert.deepEqual(node.eventNames(), [])
})

test('events.once rejects when the node fails', async t => {
  const channel = { name: 'memory', channelName: 'emitter-test' }
  const first = openOne(t, { channel })
  await first.ready()
  const second = openOne(t, { channel })
  const error = await rejection(events.once(second, 'restored'))
  assert.equal(error.code, 'ERR_CONFLUX_DUPLICATE_ID')
})

test('the other functions of an emitter', async t => {
  const node = openOne(t)
  const calls = []
  const [first, second, third] = [1, 2, 3].map(n => () => calls.push(n))
  const { addListener, prependListener, prependOnceListener, removeListener, emit } = node
  assert.equal(addListener('restored', second), node)
  assert.equal(prependListener('restored', first), node)
  assert.equal(prependOnceListener('restored', third), node)
  assert.deepEqual(node.listeners('restored'), [third, first, second])
  assert.equal(node.listenerCount('restored'), 3)
  assert.equal(node.rawListeners('restored')[0].listener, third)
  assert.deepEqual(events.getEventListeners(node, 'restored'), [third, first, second])
  assert.equal(emit('restored'), true)
  assert.equal(emit('restored'), true)
  assert.deepEqual(calls, [3, 1, 2, 1, 2])
  assert.equal(removeListener('restored', first), node)
  assert.equal(node.removeAllListeners('restored'), node)
  assert.equal(emit('restored'), false)
  node.on('role', first).on('leader', second)
  assert.deepEqual(node.eventNames(), ['role', 'leader'])
  node.removeAllListeners()
  assert.deepEqual(node.eventNames(), [])
  assert.equal(node.setMaxListeners(5), node)
  assert.equal(node.getMaxListeners(), 5)
  events.setMaxListeners(7, node)
  assert.equal(node.getMaxListeners(), 7)
  const added = []
  node.on('newListener', event => added.push(event))
  node.on('role', first)
  assert.deepEqual(added, ['role'])
})

test("an 'error' without a listener is no exception, and errorMonitor hears it", t => {
  const node = openOne(t)
  const heard = []
  node.on(events.errorMonitor, error => heard.push(error.message))
  assert.equal(node.emit('error', new Error('from elsewhere')), false)
  assert.deepEqual(heard, ['from elsewhere'])
})

test('many listeners are no leak', async () => {
  const { code, stdout, stderr } = await runScript(`
    process.on('warning', ({ name }) => console.log(name))
    const node = conflux(options)
    for (let i = 0; i < 1000; i++) for (const event of ['leader', 'warning', 'error']) node.on(event, () => {})
    node.ready().then(() => node.close())
  `)
  assert.deepEqual([code, stdout, stderr], [0, '', ''])
})

test('a listener that throws stops neither the others nor who emits', async () => {
  const { code, stdout } = await runScript(`
    process.on('uncaughtException', error => console.log('uncaught', error.message))
    const node = conflux(options)
    node.on('restored', () => { throw new Error('first') })
    node.on('restored', () => console.log('second'))
    console.log(node.emit('restored'))
    node.close()
  `)
  assert.deepEqual([code, stdout], [0, 'second\ntrue\nuncaught first\n'])
})

test('disposal closes the node', { skip: Symbol.asyncDispose === undefined }, async t => {
  const node = openOne(t)
  await node.ready()
  assert.equal(await node[Symbol.asyncDispose](), undefined)
  assert.equal(node.status().state, 'closed')
  await node[Symbol.asyncDispose]()
})
