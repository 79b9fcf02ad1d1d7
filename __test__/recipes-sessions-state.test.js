/**
 * Entries that end with a session, without a cluster: presence, the registry, and the members that an invalidation waits for.
 */
'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')

const { hash, score } = require('../lib/recipes/hash')
const { invalidation, presence, registry } = require('../recipes')
const { RecipeModel } = require('./recipe-model')

const A = { id: 'a', session: 1 }
const B = { id: 'b', session: 2 }

/** What a client reads, on a node whose state is that of the model. */
function clientOf(recipe, model) {
  const node = {
    perform: async () => {},
    getState: () => ({ key: model.state }),
    status: () => ({ id: 'a' }),
    subscribe: () => () => {},
    on: () => {}
  }
  return recipe.client(node, 'key')
}

test('presence ends with the session of the node, and with its leave', () => {
  const model = new RecipeModel(presence())
  const list = () =>
    clientOf(presence, model)
      .list()
      .map(({ name, id, session, data }) => [name, id, session, data])
  model.caller = B
  model.call('enter', 'ann', { n: 1 })
  model.caller = A
  model.call('enter', 'zoe', null)
  model.call('enter', 'ann', 'again')
  assert.deepEqual(list(), [
    ['ann', 'a', 1, 'again'],
    ['ann', 'b', 2, { n: 1 }],
    ['zoe', 'a', 1, null]
  ])
  assert.equal(model.call('leave', 'bob'), undefined)
  assert.equal(model.call('leave', 'zoe').type, 'LEFT')
  model.end(2)
  assert.deepEqual(list(), [['ann', 'a', 1, 'again']])
  model.end(1)
  assert.deepEqual(model.state.sessions, {})
  model.caller = { id: 'a', session: 3 }
  for (const name of ['__proto__', 'constructor']) model.call('enter', name, 1)
  assert.deepEqual(
    list().map(([name]) => name),
    ['__proto__', 'constructor']
  )
})

test('without sessions, what needs them is refused', () => {
  for (const [recipe, method] of [
    [presence(), 'enter'],
    [registry(), 'serve'],
    [invalidation(), 'applied']
  ]) {
    const model = new RecipeModel(recipe)
    model.caller = { id: 'a', session: null }
    assert.throws(() => model.call(method, 'x', 1), /the calling node has no session/)
  }
})

test('the registry knows the services of live sessions', () => {
  const model = new RecipeModel(registry())
  const client = clientOf(registry, model)
  model.start('a', 1)
  model.start('b', 2)
  assert.deepEqual(
    client.nodes().map(({ id }) => id),
    ['a', 'b']
  )
  assert.equal(client.owner('k', 'web'), null)
  model.caller = A
  model.call('serve', 'web', { port: 80 })
  model.caller = B
  model.call('serve', 'web', null)
  assert.deepEqual(client.nodes('web'), [
    { id: 'a', session: 1, data: { port: 80 } },
    { id: 'b', session: 2, data: null }
  ])
  model.end(1)
  assert.deepEqual(client.nodes('web'), [{ id: 'b', session: 2, data: null }])
  assert.equal(client.owner('any', 'web').id, 'b')
  assert.equal(model.call('withdraw', 'web').type, 'WITHDRAWN')
  assert.deepEqual([client.nodes('web'), model.state.services], [[], {}])
  assert.equal(model.call('withdraw', 'web'), undefined)
})

test('owners are spread evenly, and a node that comes or goes moves only its own keys', () => {
  const keys = Array.from({ length: 20_000 }, (_, i) => `key ${i}`)
  const owners = count => {
    const model = new RecipeModel(registry())
    for (let i = 0; i < count; i++) model.start(`node-${i}`, i + 1)
    const client = clientOf(registry, model)
    return keys.map(key => client.owner(key).id)
  }
  const ten = owners(10)
  const sizes = Object.values(ten.reduce((sizes, id) => ({ ...sizes, [id]: (sizes[id] ?? 0) + 1 }), {}))
  assert.equal(sizes.length, 10)
  for (const size of sizes)
    assert.ok(size > 1800 && size < 2200, `a node owns ${size} of ${keys.length} keys`)
  const eleven = owners(11)
  const moved = keys.filter((_, i) => ten[i] !== eleven[i])
  assert.ok(moved.length > 1600 && moved.length < 2050, `${moved.length} keys moved`)
  assert.ok(keys.every((_, i) => ten[i] === eleven[i] || eleven[i] === 'node-10'))
})

test('hashes are the same on all platforms and in all versions', () => {
  assert.deepEqual(
    [hash(''), hash('a'), hash('locks'), score(1, 2)],
    [2872998923, 444641715, 2888407642, 232174035]
  )
})

test('an invalidation is waited for by live members only', () => {
  const model = new RecipeModel(invalidation())
  model.caller = A
  model.call('applied', 0)
  model.caller = B
  model.call('applied', 0)
  assert.equal(model.call('invalidate', ['x']).sequence, 1)
  model.call('applied', 1)
  assert.deepEqual(model.state.members, { 1: { id: 'a', sequence: 0 }, 2: { id: 'b', sequence: 1 } })
  model.end(1)
  assert.deepEqual(model.state.members, { 2: { id: 'b', sequence: 1 } })
  assert.equal(model.call('leave').type, 'LEFT')
  assert.deepEqual(model.state.members, {})
  assert.equal(model.call('leave'), undefined)
})
