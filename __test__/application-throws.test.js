/**
 * Shows that what an application's code throws, wherever lib/ runs it or looks at an object of it, ends that
 * call and nothing else: all nodes of the cluster stay open, and their states stay equal.
 *
 * The table lists every such place.
 */
'use strict'

const assert = require('node:assert/strict')
const { randomUUID } = require('node:crypto')
const test = require('node:test')

const conflux = require('..')
const { elected, list, openCluster, openOne, rejection, until } = require('./nodes')

const thrown = () => {
  throw new Error('thrown by the application')
}
const getter = { get: thrown, enumerable: true, configurable: true }
/** Throws whatever is done with it. */
const hostile = new Proxy(
  () => {},
  Object.fromEntries(
    Reflect.ownKeys(Reflect)
      .filter(key => typeof key === 'string')
      .map(trap => [trap, thrown])
  )
)
const hostileObject = new Proxy(
  {},
  Object.fromEntries(
    ['get', 'has', 'ownKeys', 'getPrototypeOf', 'getOwnPropertyDescriptor'].map(trap => [trap, thrown])
  )
)
const withGetter = (name, object = {}) => Object.defineProperty(object, name, getter)

/** Methods that fail by what they throw, return, or are; each call of them is refused. */
const METHODS = {
  throwsHostile: () => {
    throw hostile
  },
  throwsHostileObject: () => {
    throw hostileObject
  },
  throwsMessageGetter: () => {
    throw withGetter('message', new Error())
  },
  throwsPropertyGetter: () => {
    throw withGetter('detail', new Error('x'))
  },
  throwsNameGetter: () => {
    throw withGetter('name', new TypeError('x'))
  },
  throwsToString: () => {
    throw { toString: thrown }
  },
  throwsToJson: () => {
    throw Object.assign(new Error('x'), { detail: { toJSON: thrown } })
  },
  throwsNull: () => {
    throw null
  },
  returnsHostile: () => hostile,
  returnsHostileObject: () => hostileObject,
  returnsGetter: () => withGetter('x'),
  returnsToJson: () => ({ toJSON: thrown }),
  returnsThenGetter: () => withGetter('then'),
  returnsThenable: () => ({ then: thrown }),
  returnsCatchGetter: () => withGetter('catch', Promise.resolve()),
  returnsGenerator: function* () {
    yield 1
  },
  returnsAsyncGenerator: async function* () {
    yield 1
  },
  recurses() {
    return METHODS.recurses()
  }
}
Object.defineProperty(METHODS, 'isGetter', getter)

/** Actions on which the reducer fails, at evaluation: likewise. */
const REDUCED = {
  throwHostile: () => {
    throw hostileObject
  },
  returnHostile: () => hostileObject,
  returnHostileInside: () => [hostileObject],
  returnGetterInside: () => [withGetter('x')],
  returnThenGetter: () => withGetter('then'),
  returnGenerator: () => (function* () {})(),
  poisonAction: (state, action) => {
    action.toJSON = thrown
    throw new Error('poisoned')
  }
}

const application = {
  methods: Object.defineProperties(
    { ...list.methods, reduced: name => ({ name }) },
    Object.getOwnPropertyDescriptors(METHODS)
  ),
  reduce(state, action) {
    return action?.name === undefined ? list.reduce(state, action) : REDUCED[action.name](state, action)
  }
}

async function assertWhole(nodes) {
  await nodes[0].perform('append', ['after'])
  await Promise.all(nodes.map(node => node.sync()))
  for (const node of nodes) {
    assert.deepEqual(node.getState(), nodes[0].getState())
    const { state, diverged } = node.status()
    assert.deepEqual([state, diverged], ['open', null])
  }
}

for (const checkState of [true, false]) {
  test(`methods and reducers, with checkState: ${checkState}`, async t => {
    const nodes = openCluster(t, 3, { ...application, checkState })
    const { leader, followers } = await elected(nodes)
    for (const name of Object.keys(METHODS)) {
      for (const node of [leader, followers[0]]) {
        const error = await rejection(node.perform(name))
        assert.equal(error.outcome, 'refused', `${name}: ${error.stack}`)
      }
    }
    for (const name of Object.keys(REDUCED)) {
      // Without the check, what is no JSON becomes the state.
      if (!checkState && /Hostile|GetterInside/.test(name) && name !== 'throwHostile') continue
      const error = await rejection(nodes[0].perform('reduced', [name]))
      assert.deepEqual(
        [error.code, error.outcome],
        ['ERR_CONFLUX_REDUCER', 'refused'],
        `${name}: ${error.message}`
      )
    }
    await assertWhole(nodes)
    assert.equal(leader.status().role, 'leader')
  })
}

test('generators are refused like promises', async t => {
  const node = openOne(t, application)
  for (const name of ['returnsGenerator', 'returnsAsyncGenerator']) {
    const error = await rejection(node.perform(name))
    assert.equal(error.code, 'ERR_CONFLUX_ASYNC_METHOD')
    assert.match(error.message, /returned a generator; methods must be synchronous/)
  }
})

test('methods that are a Proxy whose traps throw', async t => {
  let throwing = false
  const methods = new Proxy(list.methods, {
    get: (target, key) => (throwing ? thrown() : target[key]),
    getOwnPropertyDescriptor: (target, key) =>
      throwing ? thrown() : Reflect.getOwnPropertyDescriptor(target, key)
  })
  const nodes = openCluster(t, 3, { methods })
  await elected(nodes)
  await nodes[0].perform('append', ['before'])
  throwing = true
  assert.match((await rejection(nodes[0].perform('append', ['x']))).message, /thrown by the application/)
  throwing = false
  await assertWhole(nodes)
})

test('a reducer that throws on a committed action and has made it unreadable makes its node alone diverge', async t => {
  const nodes = openCluster(t, 3, id => ({
    ...list,
    compareStates: false,
    reduce(state, action) {
      if (id === 'c' && action?.poison) {
        action.toJSON = thrown
        throw hostileObject
      }
      return list.reduce(state, action)
    }
  }))
  const { leader } = await elected(nodes)
  if (leader === nodes[2]) await leader.transferLeadership()
  await nodes[0].perform('append', [{ poison: true }])
  await until('the divergence', () => nodes[2].status().diverged !== null)
  await nodes[0].perform('append', ['after'])
  assert.deepEqual(
    nodes.map(node => node.status().state),
    ['open', 'open', 'open']
  )
})

test('arguments, options and callbacks', async t => {
  const node = openOne(t)
  await node.ready()
  const wrong = {
    'an argument': () => node.perform('append', [hostile]),
    'an argument with a getter': () => node.perform('append', [withGetter('x')]),
    'a toJSON': () => node.perform('append', [{ toJSON: thrown }]),
    'all arguments': () => node.perform('append', new Proxy([], { get: thrown })),
    'options of ready': () => node.ready(withGetter('timeout')),
    'options of sync': () => node.sync(hostileObject),
    'options of remove': () => node.remove('b', withGetter('timeout')),
    'options of recover': () => node.recover(hostileObject)
  }
  for (const [what, call] of Object.entries(wrong)) {
    const error = await rejection(call())
    assert.equal(error.outcome, 'not-applied', `${what}: ${error.stack}`)
    assert.match(error.code, /^ERR_CONFLUX_(NOT_JSON|NOT_STARTED)$/, what)
  }
  assert.throws(() => node.close(hostileObject), /thrown by the application/)
  assert.equal(await node.perform('append', ['after']), 'after')
})

test('a callback that does not let itself be looked at is called all the same', async t => {
  const node = openOne(t, { clusterSize: 2 })
  node.on('warning', () => {})
  let calls = 0
  const callback = new Proxy(() => calls++, { get: thrown, getOwnPropertyDescriptor: thrown })
  // A timeout of one call never ends another.
  node.perform('append', ['x'], 20, callback)
  const next = node.perform('append', ['y'])
  await until('the callback', () => calls === 1)
  assert.equal(
    await Promise.race([next.then(String, String), new Promise(resolve => setImmediate(resolve, 'open'))]),
    'open'
  )
  next.catch(() => {})
  await node.close({ timeout: 100 })
})

test('options of a node: it is not opened, and its id is free', async t => {
  const options = { id: 'a', clusterSize: 1, channel: { name: 'memory', channelName: randomUUID() }, ...list }
  for (const wrong of [
    withGetter('reduce', { ...options }),
    withGetter('snapshot', { ...options }),
    { ...options, methods: new Proxy({}, { ownKeys: thrown }) },
    { ...options, channel: withGetter('channelName', { name: 'memory' }) },
    { ...options, reduce: thrown },
    hostileObject
  ]) {
    assert.throws(() => conflux(wrong), /thrown by the application/)
  }
  const node = conflux(options)
  t.after(() => node.close())
  assert.equal(await node.perform('append', ['x']), 'x')
})

test('a listener of an event or of the state that throws keeps none of the others from running', async t => {
  const uncaught = []
  const note = error => uncaught.push(error.message)
  process.setUncaughtExceptionCaptureCallback(note)
  t.after(() => process.setUncaughtExceptionCaptureCallback(null))
  const node = openOne(t)
  const heard = []
  for (const event of ['role', 'leader', 'close']) {
    node.on(event, thrown)
    node.once(event, thrown)
    node.on(event, () => heard.push(event))
  }
  node.subscribe(thrown)
  node.subscribe(() => heard.push('state'))
  await node.perform('append', ['x'])
  await node.close()
  await until('all of them', () => uncaught.length === 7)
  assert.deepEqual(heard.sort(), ['close', 'leader', 'role', 'state'])
})

test('snapshot.serialize and a state that cannot be read', async t => {
  for (const serialize of [
    thrown,
    () => hostileObject,
    () => ({ toJSON: thrown }),
    () => (function* () {})()
  ]) {
    const warnings = []
    const node = openOne(t, { snapshot: { entries: 2, serialize, deserialize: state => state } })
    node.on('warning', warning => warnings.push(warning.code))
    for (let i = 0; i < 10; i++) await node.perform('append', [i])
    await until('a warning', () => warnings.length > 0)
    assert.equal(node.status().state, 'open')
    await node.close()
  }
})

test('20,000 subscriptions come and go, and no number of listeners is taken for a leak', async t => {
  const warnings = []
  const note = warning => warnings.push(warning)
  process.on('warning', note)
  t.after(() => process.off('warning', note))
  const node = openOne(t)
  const ends = Array.from({ length: 20_000 }, () => node.subscribe(() => {}))
  for (let i = 0; i < 100; i++) node.on('leader', () => {}).on('error', () => {})
  for (const end of ends) end()
  let calls = 0
  node.subscribe(() => calls++)
  await node.perform('append', ['x'])
  assert.deepEqual([calls, warnings], [1, []])
})
