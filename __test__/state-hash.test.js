// Shows that the hash of a state depends on nothing but its value: not on the order of keys, nor on what was hashed before.

'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')

const { Pass } = require('../lib/state-hash')

/** Long enough that the sums of what holds it are remembered. */
const LONG = 'x'.repeat(20_000)

/** What is hashed in one pass, from nothing. */
function hash(value) {
  const pass = new Pass(null, true, value, undefined)
  assert.ok(pass.run(Infinity))
  return pass.result
}

/** What is hashed in many slices. Returns how many there were, too. */
function hashInSlices(parts, value, former) {
  const pass = new Pass(parts, true, value, former)
  let slices = 1
  // The time is always over: a slice ends as soon as it looks at the clock.
  while (!pass.run(-Infinity)) slices++
  return { result: pass.result, slices }
}

/** A reproducible source of numbers below a limit. */
function random(seed) {
  let state = seed
  return limit => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    return (state >>> 8) % limit
  }
}

/** Any JSON. */
function make(roll, depth) {
  switch (roll(depth > 4 ? 4 : 8)) {
    case 0:
      return roll(10) - 5
    case 1:
      return ['', 'a', '1', 'é\ud800', 'long'][roll(5)]
    case 2:
      return roll(2) === 0
    case 3:
      return null
    case 4:
    case 5:
      return Array.from({ length: roll(6) }, () => make(roll, depth + 1))
    default: {
      const object = {}
      for (let i = roll(6); i > 0; i--)
        object[['__proto__x', 'toString', '1', 'b', ''][roll(5)]] = make(roll, depth + 1)
      return roll(4) === 0 ? JSON.parse(`{"__proto__":${JSON.stringify(object)}}`) : object
    }
  }
}

/** A changed copy that shares everything else, as a reducer makes it. */
function change(roll, value, depth) {
  if (value === null || typeof value !== 'object' || roll(4) === 0) return make(roll, depth)
  if (Array.isArray(value)) {
    const copy = [...value]
    const i = roll(copy.length + 1)
    if (roll(3) === 0) copy.splice(i, 1)
    else if (roll(2) === 0 || i === copy.length) copy.splice(i, 0, make(roll, depth + 1))
    else copy[i] = change(roll, copy[i], depth + 1)
    return copy
  }
  const copy = { ...value }
  const keys = Object.keys(copy)
  const key = keys[roll(keys.length + 1)] ?? `new${roll(3)}`
  if (roll(4) === 0) delete copy[key]
  else if (roll(4) === 0) copy[key] = undefined
  else copy[key] = change(roll, copy[key] ?? null, depth + 1)
  return copy
}

/** The keys of every object in the opposite order; without those that are undefined. */
function reversed(value) {
  if (Array.isArray(value)) return value.map(reversed)
  if (value === null || typeof value !== 'object') return value
  const copy = {}
  for (const key of Object.keys(value).reverse()) {
    if (value[key] === undefined) continue
    Object.defineProperty(copy, key, {
      value: reversed(value[key]),
      enumerable: true,
      writable: true,
      configurable: true
    })
  }
  return copy
}

/** Equal texts are equal values. */
function canonical(value) {
  return JSON.stringify(value, (_, part) =>
    part !== null && typeof part === 'object' && !Array.isArray(part)
      ? Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1))
      : part
  )
}

test('a state that was changed again and again has the hash of the same state from nothing', () => {
  const values = new Map()
  for (let seed = 1; seed <= 100; seed++) {
    const roll = random(seed)
    const parts = new WeakMap()
    let former
    let state = { long: LONG, list: [LONG, make(roll, 0)], value: make(roll, 0) }
    for (let round = 0; round < 40; round++) {
      const full = hash(state)
      assert.match(full, /^[\da-f]{32}$/)
      assert.equal(hashInSlices(parts, state, former).result, full, `seed ${seed}, round ${round}`)
      assert.equal(hash(JSON.parse(JSON.stringify(reversed(state)))), full, `seed ${seed}, round ${round}`)
      const text = canonical(reversed(state))
      assert.equal(values.get(full) ?? text, text, 'different states have different hashes')
      values.set(full, text)
      former = state
      const list = change(roll, state.list, 1)
      state = {
        ...state,
        list: Array.isArray(list) ? list : [LONG, list],
        value: change(roll, state.value, 1)
      }
    }
  }
  assert.ok(values.size > 1000, String(values.size))
})

test('everything but the order of keys is a difference', () => {
  const texts = [
    ...[
      'null',
      '0',
      '1',
      '-1',
      'true',
      'false',
      '""',
      '"1"',
      '[]',
      '{}',
      '[[]]',
      '[{}]',
      '[1]',
      '[1,2]',
      '[2,1]',
      '[12]'
    ],
    ...['[[1],2]', '[[1,2]]', '[1,[2]]', '{"a":1}', '{"a":[1]}', '{"a":"1"}', '{"b":1}', '{"a":1,"b":1}'],
    ...[
      '{"a":1,"b":2}',
      '{"a":2,"b":1}',
      '{"a":{"b":1}}',
      '["a",1]',
      '["a,1"]',
      '["a\\"",1]',
      '[null]',
      '[0]',
      '[""]'
    ],
    ...['{"":null}', '{"0":1}', '[0.1]', '[1e300]', '[false]']
  ]
  const hashes = new Set(texts.map(text => hash(JSON.parse(text))))
  assert.equal(hashes.size, texts.length)
})

test('the hash of a state is the same in every release', () => {
  assert.equal(
    hash({ b: [1.5, 'é', null, true], a: {}, c: LONG.repeat(3) }),
    'c57fdde8526a46ffff7a878e3370a007'
  )
  assert.equal(hash([-0]), hash([0]))
})

test('a second pass works on what is new, however large the rest is', () => {
  const records = Array.from({ length: 200 }, (_, i) =>
    Object.fromEntries(Array.from({ length: 200 }, (_, j) => [`key-${i}-${j}`, { text: `text ${i} ${j}` }]))
  )
  const parts = new WeakMap()
  const first = hashInSlices(parts, records, undefined)
  assert.ok(first.slices > 20, `${first.slices} slices`)
  const changed = [...records]
  changed[7] = { ...records[7], 'key-7-3': { text: 'new' } }
  const second = hashInSlices(parts, changed, records)
  assert.ok(second.slices * 10 < first.slices, `${second.slices} slices after ${first.slices}`)
  assert.equal(second.result, hash(changed))
})

test('a long string is hashed in slices, too', () => {
  const { result, slices } = hashInSlices(null, [LONG.repeat(50)], undefined)
  assert.ok(slices > 10, `${slices} slices`)
  assert.equal(result, hash([LONG.repeat(50)]))
})

test('what is not JSON has no hash', () => {
  const cycle = {}
  cycle.again = [cycle]
  const hostile = {
    get a() {
      throw new Error('in a getter')
    }
  }
  for (const value of [
    undefined,
    NaN,
    [undefined],
    new Array(1),
    { a: () => {} },
    [1n],
    new Map(),
    [new Date(0)],
    cycle,
    hostile
  ]) {
    assert.equal(hash(value), null)
  }
})

test('a part that may still be changed in place is not remembered', () => {
  const parts = new WeakMap()
  const state = { list: [LONG] }
  const pass = value => {
    const pass = new Pass(parts, false, value, undefined)
    pass.run(Infinity)
    return pass.result
  }
  pass(state)
  state.list.push(1)
  assert.equal(pass(state), hash({ list: [LONG, 1] }))
})
