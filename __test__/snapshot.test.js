// Shows that a snapshot holds a state whole or not at all, and that what JSON would change is named.

'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')
const vm = require('node:vm')

const { Application } = require('../lib/application')
const { Restoring, SnapshotTaker } = require('../lib/snapshot')
const { list } = require('./nodes')

const application = (convert = {}, given = {}) => new Application({ ...list, snapshot: convert, ...given })

/** The text of a state, or why there is none. An unprotected state is encoded at once. */
function take(state, convert) {
  let text = ''
  let result
  const taker = new SnapshotTaker(application(convert, { checkState: false }), {
    piece(piece, isFirst) {
      assert.equal(isFirst, text === '')
      text += piece
    },
    taken: (index, characters, { micros }) => {
      assert.deepEqual([index, characters], [7, text.length])
      result = { text, why: null, micros }
    },
    failed: (_, why, { micros }) => (result = { text: null, why, micros })
  })
  taker.take(7, state)
  return result
}

/** The state of a text that is one piece. Throws what restoring does. */
function read(application, text) {
  let result
  const done = (error, state) => (result = { error, state })
  const piece = text === null ? null : `[0,${text},6,0]`
  new Restoring(application, () => piece, { progressed() {}, done }).begin()
  if (result.error !== null) throw result.error
  return result.state
}

function nested(levels, innermost = 0) {
  let state = innermost
  for (let i = 0; i < levels; i++) state = { a: state }
  return state
}

class Point {
  x = 1
}
class Points extends Array {}

const cycle = { name: 'x', parts: [{}, {}] }
cycle.parts[1].whole = cycle

/** A path is cut after 120 characters. */
const LONG_PATH = `state${'.a'.repeat(57)}.…`

const ADVICE = '; use snapshot: { serialize, deserialize }'
const changed = [
  [undefined, 'state is undefined, which JSON does not know'],
  [() => {}, 'state is a function, which JSON does not know'],
  [new Map(), 'state is a Map, which JSON turns into {}'],
  [{ users: [{}, { since: new Date(0) }] }, 'state.users[1].since is a Date, which JSON turns into a string'],
  [{ 'a b': new Set([1]) }, 'state["a b"] is a Set, which JSON turns into {}'],
  [[new Uint8Array(2)], 'state[0] is a Uint8Array, which JSON turns into an ordinary object'],
  [[Buffer.from('x')], 'state[0] is a Buffer, which JSON turns into what its `toJSON` returns'],
  [{ at: new Point() }, 'state.at is a Point, which JSON turns into an ordinary object'],
  [{ at: Points.of(1) }, 'state.at is a Points, which JSON turns into an ordinary array'],
  [{ at: Object(1) }, 'state.at is a Number, which JSON turns into an ordinary object'],
  [{ at: new (class {})() }, 'state.at is a class instance, which JSON turns into an ordinary object'],
  [{ at: new URL('file:///x') }, 'state.at is a URL, which JSON turns into what its `toJSON` returns'],
  [{ later: Promise.resolve() }, 'state.later is a Promise, which JSON turns into {}'],
  [{ e: new Error('x') }, 'state.e is an Error, which JSON turns into an ordinary object'],
  [{ d: Object.create(null) }, 'state.d has no prototype, and comes back from JSON with one'],
  [{ d: Object.create({ x: 1 }) }, 'state.d is an Object, which JSON turns into an ordinary object'],
  [{ n: [1, NaN] }, 'state.n[1] is NaN, which JSON turns into null'],
  [{ n: -Infinity }, 'state.n is -Infinity, which JSON turns into null'],
  [[undefined], 'state[0] is undefined, which JSON does not know'],
  [new Array(1), 'state[0] is undefined, which JSON does not know'],
  [{ f() {} }, 'state.f is a function, which JSON does not know'],
  [{ s: Symbol('x') }, 'state.s is a symbol, which JSON does not know'],
  [{ o: { [Symbol('x')]: 1 } }, 'state.o has the key Symbol(x), which JSON leaves out'],
  [{ b: [{ n: 1n }] }, 'state.b[0].n is a BigInt, which JSON does not know'],
  [{ o: { toJSON: () => 1 } }, 'state.o.toJSON is a function, which JSON does not know'],
  [cycle, 'state.parts[1].whole contains itself, which JSON cannot say'],
  [nested(1001), `${LONG_PATH} nests deeper than 1000 levels`],
  [nested(1_000_000), `${LONG_PATH} nests deeper than 1000 levels`]
]

for (const [state, why] of changed) {
  test(`no snapshot: ${why}`, () => {
    const taken = take(state)
    assert.equal(taken.text, null)
    assert.equal(taken.why, why + ADVICE)
    assert.ok(taken.micros >= 0)
  })
}

const kept = [
  null,
  'x',
  -1.5e-300,
  [],
  {},
  [[{ a: [1, null, 'x', true, {}] }]],
  nested(1000),
  '\u0000\u2028\ud800 \udfff 😀',
  JSON.parse(
    '{"__proto__":{"x":1},"constructor":{"prototype":2},"toString":3,"then":4,"length":5,"":6,"10":7}'
  ),
  vm.runInNewContext('({ list: [1, { a: 2 }] })'),
  Object.freeze({ a: Object.freeze([1]) }),
  Array.from({ length: 100_000 }, (_, i) => ({ i }))
]

for (const [i, state] of kept.entries()) {
  test(`a snapshot gives the state back: ${String(JSON.stringify(state)).slice(0, 40)} (${i})`, () => {
    const { text, why } = take(state)
    assert.equal(why, null)
    const again = read(application(), text)
    assert.equal(JSON.stringify(again), JSON.stringify(state))
    if (typeof state === 'object' && state !== null) assert.deepEqual(Object.keys(again), Object.keys(state))
    assert.equal({}.x, undefined)
  })
}

test('two shades are not minded: -0, and a property that is undefined', () => {
  const { text } = take({ zero: -0, gone: undefined, there: 1 })
  assert.equal(text, '{"zero":0,"there":1}')
})

test('what cannot be read is no snapshot either, and throws nothing', () => {
  const hostile = {
    get a() {
      throw new Error('in a getter')
    }
  }
  assert.deepEqual({ ...take(hostile), micros: 0 }, { text: null, why: 'in a getter', micros: 0 })
  const once = { a: { toJSON: null } }
  assert.equal(take(once).text, '{"a":{"toJSON":null}}')
})

test('serialize and deserialize carry what JSON does not', () => {
  const state = { users: new Map([['a', new Date(7)]]) }
  const convert = {
    serialize: ({ users }) => [...users].map(([id, since]) => [id, since.getTime()]),
    deserialize: pairs => ({ users: new Map(pairs.map(([id, since]) => [id, new Date(since)])) })
  }
  const { text } = take(state, convert)
  assert.equal(text, '[["a",7]]')
  assert.deepEqual(read(application(convert), text), state)
})

test('what serialize returns is checked, and what it throws is in the error', () => {
  const deserialize = value => value
  const why = serialize => take({}, { serialize, deserialize }).why
  assert.equal(
    why(() => ({ at: [new Date(0)] })),
    'serialize(state).at[0] is a Date, which JSON turns into a string; `serialize` must return what JSON keeps'
  )
  assert.equal(
    why(() => {
      throw new Error('no')
    }),
    '`serialize` threw: no'
  )
  assert.equal(
    why(async () => ({})),
    '`serialize` threw: it returned a promise, but must be synchronous'
  )
  const convert = {
    serialize: state => state,
    deserialize() {
      throw new Error('too old')
    }
  }
  assert.throws(() => read(application(convert), '{}'), { message: '`deserialize` threw: too old' })
})

test('what is no JSON is not read', () => {
  for (const text of ['', '{', 'nul', null]) assert.throws(() => read(application(), text))
})

test('a text longer than any string is handed over in pieces', () => {
  const strings = { list: Array(600).fill('x'.repeat(1_000_000)), one: 'é'.repeat(300_000) }
  let characters = 0
  let longest = 0
  let taken
  const taker = new SnapshotTaker(application({}, { checkState: false }), {
    piece(piece) {
      characters += piece.length
      longest = Math.max(longest, piece.length)
    },
    taken: (_, length) => (taken = length),
    failed: assert.fail
  })
  taker.take(7, strings)
  assert.equal(characters, JSON.stringify({ list: [], one: strings.one }).length + 600 * 1_000_003 - 1)
  assert.equal(taken, characters)
  assert.ok(longest < 1024 * 1024, String(longest))
})
