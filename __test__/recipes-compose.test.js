/**
 * Mounts recipes beside an application's own part: its state, its methods, its reducer, and what can not be mounted.
 */
'use strict'

const assert = require('node:assert/strict')
const { randomUUID } = require('node:crypto')
const test = require('node:test')

const conflux = require('..')
const { compose, flags, locks, presence, registry } = require('../recipes')
const { makeProject } = require('./project')

function open(t, options) {
  const node = conflux({
    id: 'a',
    clusterSize: 1,
    channel: { name: 'memory', channelName: randomUUID() },
    ...options
  })
  t.after(() => node.close())
  return node
}

const list = {
  initialState: [],
  methods: {
    append(text) {
      const { app, features } = this.getProvisionalState()
      return { text, place: app.length, version: features.version }
    }
  },
  reduce: (texts, action) => [...texts, action]
}

test('the application sees its own actions in its own part, and each recipe its own', async t => {
  const node = open(t, compose({ features: flags(), others: flags() }, list))
  const features = flags.client(node, 'features')
  await features.set('dark', true)
  await flags.client(node, 'others').set('dark', 'no')
  const types = []
  node.subscribe(({ action }) => types.push(action.type))
  assert.deepEqual(await node.perform('append', ['x']), { text: 'x', place: 0, version: 1 })
  await features.set('wide', [1, { a: 2 }])
  assert.deepEqual(node.getState().app, [{ text: 'x', place: 0, version: 1 }])
  assert.deepEqual(features.entries(), [
    ['dark', true],
    ['wide', [1, { a: 2 }]]
  ])
  assert.deepEqual(flags.client(node, 'others').entries(), [['dark', 'no']])
  assert.deepEqual(types, [undefined, 'features/SET'])
})

test('recipes need no part of an application, and an application keeps any kind of reducer', async t => {
  const alone = open(t, compose({ features: flags() }))
  await flags.client(alone, 'features').set('a', 1)
  assert.deepEqual(Object.keys(alone.getState()), ['features'])

  const methods = { add: n => ({ type: 'ADD', n }) }
  const old = open(
    t,
    compose({ features: flags() }, { methods, reduce: (sum = 0, action) => sum + (action?.n ?? 0) })
  )
  await old.perform('add', [2])
  assert.equal(old.getState().app, 2)

  const redux = (sum = 0, action) => (action.type === 'ADD' ? sum + action.n : sum)
  const node = open(t, compose({ features: flags() }, { methods, reduce: redux }))
  await node.perform('add', [3])
  assert.equal(node.getState().app, 3)
})

test('an action of the application that would be one of a recipe is refused', async t => {
  const node = open(
    t,
    compose(
      { features: flags() },
      { ...list, methods: { cheat: () => ({ type: 'features/SET', name: 'a', value: 1 }) } }
    )
  )
  await assert.rejects(node.perform('cheat'), ({ code, outcome, message }) => {
    assert.deepEqual([code, outcome], ['ERR_CONFLUX_INVALID_ARGUMENT', 'refused'])
    return /the type "features\/SET" of an action is one of the recipe "features"/.test(message)
  })
  assert.deepEqual(flags.client(node, 'features').entries(), [])
})

test('what can not be mounted is named', () => {
  for (const [recipes, application, message] of [
    [[], undefined, /takes an object of recipes.*got an array/],
    [undefined, undefined, /got undefined/],
    [{ locks }, undefined, /"locks" must be a recipe, got a function; call it/],
    [{ a: {} }, undefined, /"a" must be a recipe, got an object/],
    [{ ['x'.repeat(51)]: locks() }, undefined, /at most 50 bytes/],
    [{ 'a/b': locks() }, undefined, /"a\/b" can not be the key/],
    [{ app: locks() }, undefined, /"app" is the application's own state/],
    [{ a: locks() }, null, /own \{ initialState, methods, reduce \}, got null/],
    [{ a: locks() }, { ...list, id: 'x' }, /the option "id" is unknown/],
    [{ a: locks() }, { methods: {} }, /"reduce" must be a function, got undefined/],
    [{ a: locks() }, { ...list, methods: 1 }, /"methods" must be an object, got a number/],
    [
      { a: locks() },
      { ...list, methods: { 'a/b': () => {} } },
      /the method "a\/b" would be one of the recipe "a"/
    ]
  ]) {
    assert.throws(() => compose(recipes, application), {
      name: 'TypeError',
      code: 'ERR_CONFLUX_INVALID_ARGUMENT',
      message
    })
  }
})

test('a client of what is not mounted says what is there', t => {
  const node = open(t, compose({ mutexes: locks(), features: flags() }, list))
  assert.throws(() => locks.client(node, 'locks'), {
    code: 'ERR_CONFLUX_INVALID_ARGUMENT',
    message:
      '`locks.client`: the state at "locks" is missing; this node has it at "mutexes"; mount it by compose({ locks: locks() })'
  })
  assert.throws(
    () => presence.client(node, 'features'),
    /the state at "features" is of the recipe `flags`, not `presence`/
  )
  assert.throws(
    () => registry.client(node, 'app'),
    /the state at "app" is not of the recipe `registry`: it is an array/
  )
  assert.throws(() => flags.client({}, 'features'), /`flags.client` takes a node, got an object/)
  assert.throws(() => flags.client(node), /takes the key under which the recipe is mounted, got undefined/)
})

test('a recipe that is mounted later begins with its initial state; another shape is refused', async t => {
  const path = makeProject(t)
  const options = { storage: { path: `${path}/data` }, snapshot: { entries: 1 } }
  const before = open(t, { ...options, ...compose({ features: flags() }, list) })
  await flags.client(before, 'features').set('a', 1)
  await before.close()

  const later = open(t, { ...options, ...compose({ features: flags(), others: flags() }, list) })
  const others = flags.client(later, 'others')
  await others.set('b', 2)
  assert.equal(flags.client(later, 'features').get('a'), 1)
  assert.equal(others.get('b'), 2)
  await later.close()

  const wrong = open(t, { ...options, ...compose({ features: locks(), others: flags() }, list) })
  const client = locks.client(wrong, 'features')
  await wrong.ready()
  await assert.rejects(
    client.acquire('a', { duration: 10 }),
    /the state at "features" is of the recipe `flags`, not `locks`/
  )
  assert.throws(() => client.holders('a'), /the state at "features" is of the recipe `flags`, not `locks`/)
  await wrong.close()
})

test('what a recipe makes is frozen, and a recipe cannot be changed', async t => {
  const node = open(t, compose({ features: flags() }, list))
  const features = flags.client(node, 'features')
  await features.set('dark', { a: [1] })
  const containers = [node.getState()]
  for (const each of containers) {
    assert.ok(Object.isFrozen(each), JSON.stringify(each))
    containers.push(...Object.values(each).filter(value => typeof value === 'object' && value !== null))
  }
  assert.ok(containers.length > 6)
  const recipe = flags()
  assert.throws(() => (recipe.reduce = state => state), TypeError)
  assert.throws(() => (recipe.methods.set = () => null), TypeError)
})

test("the application's reducer, and that of its own recipe, are checked beside conflux's own", async t => {
  // Sloppy-mode code: a write to a frozen state is ignored, and only the thorough check finds it.
  const sloppy = new Function('state', 'action', 'state.n = 1; return state')
  const node = open(
    t,
    compose(
      { features: flags(), mine: { ...flags(), name: 'mine', reduce: sloppy } },
      { initialState: { n: 0 }, methods: { append: () => ({ type: 'x' }) }, reduce: sloppy }
    )
  )
  await assert.rejects(node.perform('append'), /changed the state in place \(`state\.app\.n`/)
  const mine = node.perform('mine/set', ['dark', true, null])
  await assert.rejects(mine, /changed the state in place \(`state\.mine\.n`/)
  await flags.client(node, 'features').set('dark', true)
  assert.equal(node.getState().app.n, 0)
})

test('what a node announces before it has a session is announced once', async t => {
  const node = open(t, { sessions: true, ...compose({ online: presence(), services: registry() }) })
  const types = []
  node.subscribe(({ action }) => types.push(action.type))
  const online = presence.client(node, 'online')
  const lists = []
  online.watch(list => lists.push(list.map(({ name }) => name)))
  assert.equal(node.status().session ?? null, null)
  const services = registry.client(node, 'services')
  await Promise.all([online.enter('ann'), online.enter('bob'), services.serve('pictures')])
  await node.sync()
  await online.leave('ann')
  assert.deepEqual(types.filter(type => !type.startsWith('@@')).sort(), [
    'online/ENTERED',
    'online/ENTERED',
    'online/LEFT',
    'services/SERVED'
  ])
  assert.deepEqual(lists, [['ann'], ['ann', 'bob'], ['bob']])
})
