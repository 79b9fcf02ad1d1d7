// Shows that JSON is the data model: what it can't carry is refused by name, and what it can is carried as
// it is, also where JavaScript would stumble over it.

'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')

const { elected, openCluster, openOne, rejection, until } = require('./nodes')

const MIB = 1024 * 1024
const nested = levels => JSON.parse('['.repeat(levels) + ']'.repeat(levels))

/** A method for each value that its node can't put into an action. */
function returning(value) {
  return { methods: { make: () => value, append: thing => thing } }
}

const cycle = { name: 'x', parts: [{}] }
cycle.parts[0].whole = cycle

const cannot = [
  ['a cycle', cycle, '.parts[0].whole is not JSON: it contains itself', 'ERR_CONFLUX_NOT_JSON'],
  ['a BigInt', { 'a b': [1, 2n] }, '["a b"][1] is not JSON: it is a BigInt', 'ERR_CONFLUX_NOT_JSON'],
  [
    'a toJSON that throws',
    {
      toJSON() {
        throw new Error('not me')
      }
    },
    ' is not JSON: not me',
    'ERR_CONFLUX_NOT_JSON'
  ]
]

for (const [name, value, fault, code] of cannot) {
  test(`${name} is refused, with the place where it stands`, async t => {
    const node = openOne(t, returning(value))
    const argument = await rejection(node.perform('append', [value]))
    assert.ok(argument.message.endsWith(fault), argument.message)
    assert.ok(argument.message.startsWith('args'), argument.message)
    assert.deepEqual([argument.code, argument.outcome], [code, 'not-applied'])

    const action = await rejection(node.perform('make'))
    assert.equal(action.message, `action${fault}`)
    assert.deepEqual([action.code, action.outcome], [code, 'refused'])

    assert.equal(await node.perform('append', ['fine']), 'fine')
  })
}

test('an action that is a function or a symbol is refused', async t => {
  const node = openOne(t, { methods: { func: () => () => {}, symbol: () => Symbol('x') } })
  for (const [method, kind] of [
    ['func', 'function'],
    ['symbol', 'symbol']
  ]) {
    const error = await rejection(node.perform(method))
    assert.equal(error.message, `action is not JSON: it is a ${kind}`)
    assert.deepEqual([error.code, error.outcome], ['ERR_CONFLUX_NOT_JSON', 'refused'])
  }
})

test('undefined and -0 become what JSON.stringify makes of them', async t => {
  const node = openOne(t)
  const value = [undefined, { gone: undefined, n: 1 }, -0]
  assert.deepEqual(await node.perform('append', [value]), [null, { n: 1 }, 0])
})

test('arguments and actions of 1 MiB pass, of a byte more do not', async t => {
  const node = openOne(t, {
    methods: { repeat: (text, times) => text.repeat(times), size: text => text.length }
  })
  // In UTF-8: é has two bytes, and the quotes are two.
  assert.equal((await node.perform('repeat', ['é', MIB / 2 - 1])).length, MIB / 2 - 1)
  const action = await rejection(node.perform('repeat', ['é', MIB / 2]))
  assert.deepEqual([action.code, action.outcome, action.bytes], ['ERR_CONFLUX_TOO_LARGE', 'refused', MIB + 2])

  assert.equal(await node.perform('size', ['x'.repeat(MIB - 4)]), MIB - 4)
  const argument = await rejection(node.perform('size', ['x'.repeat(MIB - 3)]))
  assert.deepEqual([argument.code, argument.outcome], ['ERR_CONFLUX_TOO_LARGE', 'not-applied'])
  assert.match(argument.message, /^args has 1048577 bytes as JSON; at most 1048576 are allowed$/)
})

test('nesting of 64 passes, of 65 does not, and a million levels end nothing', async t => {
  const node = openOne(t, { methods: { wrap: value => [value], append: value => value } })
  assert.deepEqual(await node.perform('append', [nested(64)]), nested(64))
  // Brackets in strings nest nothing.
  assert.equal(await node.perform('append', ['["\\'.repeat(200)]), '["\\'.repeat(200))

  const action = await rejection(node.perform('wrap', [nested(64)]))
  assert.deepEqual([action.code, action.outcome], ['ERR_CONFLUX_TOO_DEEP', 'refused'])
  let million = []
  for (let i = 0; i < 1_000_000; i++) million = [million]
  for (const value of [nested(65), nested(5000), million]) {
    const argument = await rejection(node.perform('append', [value]))
    assert.deepEqual([argument.code, argument.outcome], ['ERR_CONFLUX_TOO_DEEP', 'not-applied'])
  }
})

test('odd keys and characters arrive on every node as they are, and pollute nothing', async t => {
  const nodes = openCluster(t, 3)
  await elected(nodes)
  const values = [
    JSON.parse('{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}'),
    { toString: 'x', hasOwnProperty: 1, then: 1, toJSON: 2, '': 3, length: -1 },
    '\u0000\u001f\u2028\u2029\ud800 \udfff 😀 </script>',
    { '\ud800': '\udfff' },
    1e308,
    Number.MAX_SAFE_INTEGER,
    -1.5e-300
  ]
  for (const value of values) {
    for (const node of nodes) {
      const action = await node.perform('append', [value])
      assert.equal(JSON.stringify(action), JSON.stringify(value))
    }
  }
  const count = values.length * nodes.length
  for (const node of nodes) {
    await until('every node to apply all', () => node.getState().length === count)
    assert.equal(JSON.stringify(node.getState()), JSON.stringify(nodes[0].getState()))
  }
  assert.equal({}.polluted, undefined)
})
