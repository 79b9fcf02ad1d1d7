// Shows that what JSON would silently lose of arguments and actions is refused, with its place.

'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')
const vm = require('node:vm')

const { elected, list, openCluster, openOne, rejection } = require('./nodes')

class Point {
  constructor(x) {
    this.x = x
  }
}

/** A value, and what the message says of it. */
const LOST = {
  map: [new Map([['a', 1]]), 'is a Map, which JSON turns into {}'],
  set: [new Set([1]), 'is a Set, which JSON turns into {}'],
  weakMap: [new WeakMap(), 'is a WeakMap, which JSON turns into {}'],
  bytes: [new Uint8Array(2), 'is a Uint8Array, which JSON turns into an ordinary object'],
  view: [new DataView(new ArrayBuffer(1)), 'is a DataView, which JSON turns into an ordinary object'],
  buffer: [new ArrayBuffer(2), 'is an ArrayBuffer, which JSON turns into {}'],
  nan: [NaN, 'is NaN, which JSON turns into null'],
  infinity: [-Infinity, 'is -Infinity, which JSON turns into null'],
  call: [() => 1, 'is a function, which JSON does not know'],
  symbol: [Symbol('x'), 'is a symbol, which JSON does not know'],
  pattern: [/x/, 'is a RegExp, which JSON turns into {}'],
  promise: [Promise.resolve(1), 'is a Promise, which JSON turns into {}'],
  error: [new TypeError('x'), 'is a TypeError, which JSON turns into {}'],
  elsewhere: [vm.runInNewContext('new Map()'), 'is a Map, which JSON turns into {}'],
  classOfMaps: [new (class extends Map {})(), 'is a'],
  entries: [new Map([['a', 1]]).entries(), 'is a'],
  values: [new Set([1]).values(), 'is a']
}

const PLACES = {
  '': value => value,
  '.at': value => ({ fine: 1, at: value }),
  '[1]': value => ['fine', value],
  '.list[0]["a b"]': value => ({ list: [{ 'a b': value }] }),
  '.x': value => new Point(value)
}

test('of arguments, wherever it is', async t => {
  const node = openOne(t)
  await node.ready()
  for (const [value, why] of Object.values(LOST)) {
    for (const [place, at] of Object.entries(PLACES)) {
      const error = await rejection(node.perform('append', [at(value)]))
      assert.equal(error.code, 'ERR_CONFLUX_NOT_JSON')
      assert.equal(error.outcome, 'not-applied')
      assert.equal(error.path, `args[0]${place}`)
      assert.ok(error.message.startsWith(`args[0]${place} is not JSON: it ${why}`), error.message)
    }
  }
  assert.deepEqual(node.getState(), [])
})

test('of actions, on every node', async t => {
  const methods = { make: (what, place) => PLACES[place](LOST[what][0]) }
  // A promise is an asynchronous method, an Error says no, and what is called is none: see errors.test.js.
  const asked = (what, place) => place !== '' || !['promise', 'error'].includes(what)
  const nodes = openCluster(t, 3, { methods })
  const { leader, followers } = await elected(nodes)
  for (const node of [leader, followers[0]]) {
    for (const what of Object.keys(LOST)) {
      for (const place of Object.keys(PLACES)) {
        if (!asked(what, place)) continue
        const error = await rejection(node.perform('make', [what, place]))
        assert.equal(error.code, 'ERR_CONFLUX_NOT_JSON', `${what} at ${place}`)
        assert.equal(error.outcome, 'refused')
        assert.ok(
          error.message.startsWith(`action${place} is not JSON: it is a`) || error.path === `action${place}`
        )
      }
    }
  }
  assert.deepEqual(leader.getState(), [])
})

test('what says itself what is kept, what is absent, and class instances are fine', async t => {
  const node = openOne(t)
  const inherited = Object.create({ call() {}, [Symbol('x')]: 1 })
  for (const [value, kept] of [
    [{ a: undefined, b: 1 }, { b: 1 }],
    [
      [undefined, 1],
      [null, 1]
    ],
    [new Date(0), '1970-01-01T00:00:00.000Z'],
    [{ toJSON: () => 'own' }, 'own'],
    [{ call() {}, toJSON: () => 'with a function' }, 'with a function'],
    [Object.assign(new Map(), { toJSON: () => [] }), []],
    [Object.assign(() => {}, { toJSON: () => 'a function' }), 'a function'],
    [Buffer.from('x'), { type: 'Buffer', data: [120] }],
    [new URL('http://x/'), 'http://x/'],
    [new Point(1), { x: 1 }],
    [Object.assign(Object.create(null), { x: 1 }), { x: 1 }],
    [Object.assign(inherited, { x: 1 }), { x: 1 }],
    [Object(1), 1],
    [-0, 0]
  ]) {
    assert.deepEqual(await node.perform('append', [value]), kept)
  }
})

test('a toJSON is no way around the limit of depth, wherever it comes from', async t => {
  const node = openOne(t, { methods: { ...list.methods, make: () => new Plain() } })
  const deep = () => Array.from({ length: 100 }).reduce(value => [value], 1)
  function Plain() {}
  Plain.prototype = { toJSON: deep }
  const hidden = Object.create(Object.defineProperty({}, 'toJSON', { value: deep }))
  for (const value of [new Plain(), hidden, { toJSON: deep }, Object.assign([1], { toJSON: deep })]) {
    for (const args of [[value], [{ at: value }]]) {
      assert.equal((await rejection(node.perform('append', args))).code, 'ERR_CONFLUX_TOO_DEEP')
    }
  }
  assert.equal((await rejection(node.perform('make'))).code, 'ERR_CONFLUX_TOO_DEEP')
})

test('an error keeps what JSON makes of its data', async t => {
  const node = openOne(t, {
    methods: { no: () => Object.assign(new Error('no'), { at: { n: 1, call() {} } }), ...list.methods }
  })
  assert.deepEqual((await rejection(node.perform('no'))).at, { n: 1 })
})

test('an accessor that throws only when it is read again is no way around', async t => {
  const node = openOne(t)
  let reads = 0
  const value = {
    get x() {
      if (++reads > 1) throw new Error('once only')
      return 1
    }
  }
  const error = await rejection(node.perform('append', [value]))
  assert.equal(error.code, 'ERR_CONFLUX_NOT_JSON')
  assert.match(error.message, /once only/)
})
