// Lists the public API: what is not listed here is internal.

'use strict'

const assert = require('node:assert/strict')
const { EventEmitter } = require('node:events')
const test = require('node:test')
const vm = require('node:vm')

const conflux = require('..')
const { openOne, rejection } = require('./nodes')

test('the package is one function', () => {
  assert.equal(typeof conflux, 'function')
  assert.deepEqual(Object.keys(conflux), ['isPerformError'])
})

test('isPerformError recognizes the rejection of a call and nothing else', async t => {
  const node = openOne(t, { methods: { no: () => new Error('no') } })
  const refused = await rejection(node.perform('no'))
  const invalid = await rejection(node.perform('no', 'not an array'))
  const elsewhere = vm.runInNewContext(
    'Object.assign(new Error("elsewhere"), { code: "ERR_CONFLUX_TIMEOUT", outcome: "unknown" })'
  )
  for (const error of [refused, invalid, elsewhere]) assert.equal(conflux.isPerformError(error), true)
  const hostile = new Proxy(new Error('x'), {
    get() {
      throw new Error('in a trap')
    }
  })
  const others = [
    new Error('x'),
    Object.assign(new Error('x'), { outcome: 'unknown' }),
    Object.assign(new Error('x'), { code: 'E_X', outcome: 'maybe' }),
    { code: 'E_X', outcome: 'refused', message: 'not an Error' },
    hostile,
    'refused',
    null,
    undefined
  ]
  for (const other of others) assert.equal(conflux.isPerformError(other), false)
})

test('import gives the same functions as require', async () => {
  const module = await import('../index.mjs')
  assert.equal(module.default, conflux)
  assert.equal(module.isPerformError, conflux.isPerformError)
  assert.deepEqual(Object.keys(module), ['default', 'isPerformError'])
})

test('a node is its public functions, those of an event emitter, and nothing else', t => {
  const node = openOne(t)
  const ofEmitters = Object.keys(EventEmitter.prototype).filter(name => !name.startsWith('_'))
  assert.deepEqual(
    Object.keys(node).sort(),
    [
      ...ofEmitters,
      'close',
      'commits',
      'getProvisionalState',
      'getState',
      'perform',
      'ready',
      'recover',
      'ref',
      'remove',
      'resize',
      'schedule',
      'sessions',
      'setSecret',
      'status',
      'subscribe',
      'sync',
      'timers',
      'transferLeadership',
      'unref',
      'unschedule',
      'watch',
      'whileLeader'
    ].sort()
  )
})

test('every function of a node stands for itself', async t => {
  const {
    perform,
    getState,
    getProvisionalState,
    subscribe,
    status,
    ready,
    on,
    once,
    off,
    ref,
    unref,
    close
  } = openOne(t)
  await ready()
  let calls = 0
  const unsubscribe = subscribe(() => calls++)
  assert.equal(await perform('append', ['x']), 'x')
  assert.deepEqual(getState(), ['x'])
  assert.deepEqual(getProvisionalState(), ['x'])
  assert.equal(calls, 1)
  unsubscribe()
  assert.equal(status().role, 'leader')
  const listener = () => {}
  assert.equal(off('role', listener), on('role', listener))
  once('role', listener)
  assert.equal(ref(), unref())
  await close()
})
