// Shows that a state comes back from its text in slices, whatever its shape, and is frozen.

'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')

const { StateBuilder } = require('../lib/state-builder')
const { StateText } = require('../lib/state-text')

/** Steps of src/js/state_pieces.rs. */
const [ITEMS, MEMBERS, OPEN_OBJECT, OPEN_ARRAY, CLOSE, END] = [1, 2, 3, 4, 5, 6]

/** Builds a state of these pieces, each in a slice of its own. */
function build(pieces, freezes = true) {
  const texts = pieces.map(steps => JSON.stringify(steps))
  const builder = new StateBuilder(() => texts.shift(), freezes)
  let slices = 1
  // The time is always over.
  while (!builder.run(-Infinity)) slices++
  return { value: builder.value, slices }
}

/** The text of a value, which is encoded in slices as short as possible. */
function encode(value) {
  let text = ''
  const encoder = new StateText(value, 'state', piece => (text += piece))
  let slices = 1
  while (!encoder.run(-Infinity)) slices++
  assert.equal(encoder.why, null)
  return { text, slices }
}

test('pieces become one state', () => {
  const { value, slices } = build([
    [OPEN_OBJECT, null, MEMBERS, { a: 1, b: { c: [2] } }],
    [OPEN_ARRAY, 'list', ITEMS, [1, [2]], OPEN_ARRAY, null],
    [ITEMS, ['x'], CLOSE, 0, OPEN_OBJECT, null, CLOSE, 0, CLOSE, 0],
    [CLOSE, 0, END, 0]
  ])
  assert.deepEqual(value, { a: 1, b: { c: [2] }, list: [1, [2], ['x'], {}] })
  assert.equal(slices, 4)
})

test('every part is frozen, unless states are not protected', () => {
  const pieces = [
    [OPEN_OBJECT, null, MEMBERS, { a: { b: [{}] } }, OPEN_ARRAY, 'c', ITEMS, [{}], CLOSE, 0, CLOSE, 0, END, 0]
  ]
  const parts = value => [value, value.a, value.a.b, value.a.b[0], value.c, value.c[0]]
  assert.ok(parts(build(pieces).value).every(Object.isFrozen))
  assert.ok(!parts(build(pieces, false).value).some(Object.isFrozen))
})

test('a key that is `__proto__` is one as any other', () => {
  const members = JSON.parse('{"__proto__":{"x":1}}')
  const { value } = build([
    [OPEN_OBJECT, null, MEMBERS, members, OPEN_OBJECT, '__proto__y', CLOSE, 0],
    [OPEN_OBJECT, '__proto__', MEMBERS, { y: 2 }, CLOSE, 0, CLOSE, 0, END, 0]
  ])
  assert.equal(JSON.stringify(value), '{"__proto__":{"y":2},"__proto__y":{}}')
  assert.equal(value.x, undefined)
})

const record = i => ({ id: i, name: `name ${i}`, text: 'x'.repeat(60), 'é"\\': [null, true, 1.5] })
const records = count => Array.from({ length: count }, (_, i) => record(i))
const long = 'é"\\\n😀\ud800'.repeat(40_000)
const nested = levels => {
  let state = { items: records(3) }
  for (let i = 0; i < levels; i++) state = { inner: state, items: records(300), gone: undefined }
  return state
}

for (const [name, state] of [
  ['many items', records(10_000)],
  ['many members', Object.fromEntries(records(10_000).map(item => [`key ${item.id}`, item]))],
  [
    'integer keys',
    Object.fromEntries(
      records(10_000)
        .map(item => [`${item.id * 7}`, item])
        .reverse()
    )
  ],
  ['a large member among small ones', [1, records(5000), 2, { a: records(5000), b: [] }, []]],
  ['a long string', { long, list: [long, 1] }],
  ['only a long string', long],
  ['deep nesting', nested(200)],
  ['keys of prototypes', JSON.parse(`{"__proto__":${JSON.stringify(records(3000))},"toString":1}`)],
  ['members that are undefined', Object.fromEntries(records(5000).map(({ id }) => [`k${id}`, undefined]))]
]) {
  test(`a text in slices is that of JSON.stringify: ${name}`, () => {
    const { text, slices } = encode(state)
    assert.ok(text === JSON.stringify(state) || JSON.stringify(JSON.parse(text)) === JSON.stringify(state))
    if (text.length > 100_000)
      assert.ok(slices > text.length / 200_000, `${slices} slices for ${text.length} characters`)
  })
}

test('a state of up to 256 KiB is encoded at once, and a larger one in slices', () => {
  for (const state of [
    records(1500),
    Object.fromEntries(records(1500).map(item => [`key ${item.id}`, item]))
  ]) {
    const { text, slices } = encode(state)
    assert.ok(text.length > 180_000 && text.length < 256 * 1024, String(text.length))
    assert.equal(text, JSON.stringify(state))
    assert.equal(slices, 1)
  }
  assert.ok(encode(records(4000)).slices > 3)
})

test('what is not JSON is found wherever it is, and named', () => {
  const why = value => {
    const encoder = new StateText(value, 'state', () => {})
    assert.ok(encoder.run(Infinity))
    return encoder.why
  }
  const deep = nested(150)
  let innermost = deep
  while (innermost.inner !== undefined) innermost = innermost.inner
  innermost.items.push({ at: new Date(0) })
  assert.match(why(deep), /^state(\.inner)+\.…? is a Date, which JSON turns into a string$/)
  assert.equal(why([records(8000), [NaN]]), 'state[1][0] is NaN, which JSON turns into null')
  assert.equal(
    why({ 'a b': [records(8000), () => {}] }),
    'state["a b"][1] is a function, which JSON does not know'
  )
  const cycle = { items: records(8000), again: [] }
  cycle.again.push(cycle)
  assert.match(why(cycle), /^state\.again\[0\] contains itself/)
})
