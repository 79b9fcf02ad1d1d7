// Shows what a call is rejected with, the same on every node.

'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')
const vm = require('node:vm')

const { elected, list, openCluster, openOne, rejection } = require('./nodes')

const methods = {
  ...list.methods,
  returns: () => new Error('returned'),
  throws() {
    throw new TypeError('thrown')
  },
  withData() {
    return Object.assign(new Error('taken'), {
      code: 'E_TAKEN',
      by: { id: 7, since: new Date(0) },
      big: 1n,
      call() {},
      nothing: undefined,
      outcome: 'mine',
      name: 'Mine',
      stack: 'mine'
    })
  },
  withProto() {
    const error = new Error('proto')
    Object.defineProperty(error, '__proto__', { value: { polluted: true }, enumerable: true })
    return error
  },
  otherRealm: () => vm.runInNewContext('Object.assign(new Error("elsewhere"), { code: "E_ELSEWHERE" })'),
  throwsText() {
    throw 'text'
  },
  throwsNull() {
    throw null
  },
  throwsHostile() {
    throw {
      get message() {
        throw new Error('in a getter')
      },
      toString() {
        throw new Error('in toString')
      }
    }
  },
  async later() {
    throw new Error('never seen')
  },
  thenable: () => ({ then() {} })
}

const expected = {
  returns: { message: 'returned', code: 'ERR_CONFLUX_REFUSED' },
  throws: { message: 'thrown', code: 'ERR_CONFLUX_METHOD_THREW' },
  withData: { message: 'taken', code: 'E_TAKEN', by: { id: 7, since: '1970-01-01T00:00:00.000Z' } },
  withProto: { message: 'proto', code: 'ERR_CONFLUX_REFUSED' },
  otherRealm: { message: 'elsewhere', code: 'E_ELSEWHERE' },
  throwsText: { message: 'text', code: 'ERR_CONFLUX_METHOD_THREW' },
  throwsNull: { message: 'null', code: 'ERR_CONFLUX_METHOD_THREW' },
  throwsHostile: { message: 'something without a text was thrown', code: 'ERR_CONFLUX_METHOD_THREW' },
  later: {
    message: 'the method `later` returned a promise; methods must be synchronous',
    code: 'ERR_CONFLUX_ASYNC_METHOD'
  },
  thenable: {
    message: 'the method `thenable` returned a promise; methods must be synchronous',
    code: 'ERR_CONFLUX_ASYNC_METHOD'
  },
  zooby: { message: 'zooby is not a registered method', code: 'ERR_CONFLUX_UNKNOWN_METHOD' }
}

test('a refusal is the same Error on every node, with the data of the method and without anything logged', async t => {
  const nodes = openCluster(t, 3, { methods })
  const leader = (await elected(nodes)).leader.status().id
  const { lastIndex } = nodes[0].status()
  for (const [method, { message, ...facts }] of Object.entries(expected)) {
    for (const node of nodes) {
      const error = await rejection(node.perform(method))
      assert.ok(error instanceof Error)
      assert.equal(String(error), `Error: ${message}`)
      const { remoteStack, ...rest } = error
      assert.deepEqual(rest, { ...facts, outcome: 'refused', method, leader }, method)
      // Of what is an error, and was thrown by mistake, the leader's stack says where.
      assert.equal(
        /at (Emitter\.)?throws \(.*errors\.test\.js/.test(remoteStack),
        method === 'throws',
        remoteStack
      )
      assert.equal(error.polluted, undefined)
      assert.equal(Object.getPrototypeOf(error), Error.prototype)
    }
  }
  assert.equal(nodes[0].status().lastIndex, lastIndex)
  assert.deepEqual(nodes[0].getState(), [])
})

test('only own functions are methods', async t => {
  class Inherited {
    inherited() {}
  }
  const methods = Object.defineProperty(new Inherited(), 'constant', { get: () => 1, enumerable: true })
  const node = openOne(t, { methods })
  const names = [
    'inherited',
    'constant',
    'constructor',
    '__proto__',
    '__defineGetter__',
    'toString',
    'hasOwnProperty',
    ''
  ]
  for (const name of names) {
    const error = await rejection(node.perform(name, ['polluted', 'x']))
    assert.equal(String(error), `Error: ${name} is not a registered method`)
    assert.equal(error.outcome, 'refused')
  }
  assert.equal({}.polluted, undefined)
})

test('a method may have any name, if it is an own one', async t => {
  const own = Object.defineProperty({}, '__proto__', { value: () => 'proto', enumerable: true })
  const node = openOne(t, {
    methods: Object.assign(own, { constructor: () => 'constructor', 'ü "\n': () => 'odd' })
  })
  assert.equal(await node.perform('__proto__'), 'proto')
  assert.equal(await node.perform('constructor'), 'constructor')
  assert.equal(await node.perform('ü "\n'), 'odd')
})

test('an error too large to travel keeps its message and code', async t => {
  const huge = () =>
    Object.assign(new Error('m'.repeat(2_000_000)), { code: 'E_HUGE', data: 'd'.repeat(900_000) })
  const node = openOne(t, { methods: { huge } })
  const error = await rejection(node.perform('huge'))
  assert.equal(error.code, 'E_HUGE')
  assert.equal(error.message, 'm'.repeat(8 * 1024))
  assert.equal(error.data, undefined)
})

test('a reducer that throws while a call is evaluated refuses it, and nothing is logged', async t => {
  const nodes = openCluster(t, 3, {
    reduce(state, action) {
      if (action === 'poison') throw new Error('indigestible')
      if (action === 'later') return Promise.reject(new Error('never seen'))
      return list.reduce(state, action)
    }
  })
  await elected(nodes)
  for (const node of nodes) {
    const error = await rejection(node.perform('append', ['poison']))
    assert.equal(error.message, 'the reducer threw on the action of `append`: indigestible')
    assert.equal(error.code, 'ERR_CONFLUX_REDUCER')
    assert.equal(error.outcome, 'refused')
    const asynchronous = await rejection(node.perform('append', ['later']))
    assert.match(asynchronous.message, /the reducer returned a promise; reducers must be synchronous$/)
    assert.equal(asynchronous.code, 'ERR_CONFLUX_REDUCER')
  }
  // Nothing of it stays in the way of later calls.
  await nodes[0].perform('append', ['fine'])
  assert.deepEqual(nodes[0].getState(), ['fine'])
})

test('what a method throws of itself is a warning on the leader, with its stack, once for each place', async t => {
  const nodes = openCluster(t, 3, {
    methods: {
      ...list.methods,
      typo: thing => thing.nme.length,
      wrong() {
        throw new Error('at another place')
      },
      coded() {
        throw Object.assign(new Error('no'), { code: 'E_NO' })
      },
      returned: () => new Error('no')
    },
    reduce(state, action) {
      if (action === 'poison') return state.nothing.here
      return list.reduce(state, action)
    }
  })
  const warnings = nodes.map(node => {
    const own = []
    node.on('warning', ({ code, method, stack, message }) => own.push({ code, method, stack, message }))
    return own
  })
  const { leader, followers } = await elected(nodes)
  const errors = []
  for (const method of ['typo', 'typo', 'wrong', 'coded', 'returned']) {
    errors.push(await rejection(followers[0].perform(method, [{}])))
  }
  const reducer = await rejection(followers[0].perform('append', ['poison']))
  assert.deepEqual(
    errors.map(error => error.code),
    [...Array(3).fill('ERR_CONFLUX_METHOD_THREW'), 'E_NO', 'ERR_CONFLUX_REFUSED']
  )
  assert.match(errors[0].remoteStack, /^TypeError: .*\n\s+at (Emitter\.)?typo \(/)
  assert.equal(errors[4].remoteStack, undefined)
  assert.equal(reducer.code, 'ERR_CONFLUX_REDUCER')
  assert.match(reducer.remoteStack, /^TypeError: .*\n\s+at (Object\.)?reduce \(/)
  const reported = warnings[nodes.indexOf(leader)]
  assert.deepEqual(
    reported.map(({ code, method }) => [code, method]),
    [
      ['WARN_CONFLUX_METHOD_THREW', 'typo'],
      ['WARN_CONFLUX_METHOD_THREW', 'wrong'],
      ['WARN_CONFLUX_REDUCER_THREW', 'append']
    ]
  )
  for (const { message, stack } of reported)
    assert.ok(stack.includes('\n') && message.endsWith(stack), message)
  for (const node of followers) assert.deepEqual(warnings[nodes.indexOf(node)], [])
})
