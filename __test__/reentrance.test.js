// Shows that methods and reducers must not call a node: such a call throws.

'use strict'

const assert = require('node:assert/strict')
const { randomUUID } = require('node:crypto')
const test = require('node:test')

const { elected, list, openCluster, openNode, openOne, rejection, until } = require('./nodes')

test('perform, close and what asks the cluster, inside a method, throw at once', async t => {
  const caught = []
  const attempt = action => {
    try {
      action()
    } catch (error) {
      caught.push(error)
    }
  }
  const node = openOne(t, {
    methods: {
      ...list.methods,
      catches() {
        attempt(() => this.perform('append', ['x']))
        attempt(() => this.perform('append', ['x'], () => {}))
        attempt(() => this.close())
        attempt(() => this.sync())
        attempt(() => this.transferLeadership())
        attempt(() => this.remove('a'))
        attempt(() => this.resize(1))
        attempt(() => this.recover({ iUnderstandThatActionsMayBeLost: true }))
        return 'caught'
      },
      throws() {
        return this.perform('append', ['x'])
      }
    }
  })
  assert.equal(await node.perform('catches'), 'caught')
  assert.deepEqual(
    caught.map(error => error.code),
    Array(8).fill('ERR_CONFLUX_REENTRANT')
  )
  assert.equal(
    caught[0].message,
    '`perform` was called inside a method; methods and reducers must not call a node'
  )
  assert.equal(
    caught[2].message,
    '`close` was called inside a method; methods and reducers must not call a node'
  )

  const error = await rejection(node.perform('throws'))
  assert.deepEqual([error.code, error.outcome], ['ERR_CONFLUX_REENTRANT', 'refused'])
  assert.deepEqual(node.getState(), ['caught'])
  assert.equal(node.status().state, 'open')
})

test('perform and close inside a reducer throw at once; nothing is logged', async t => {
  let node
  node = openOne(t, {
    reduce(state, action) {
      if (action === 'perform') node.perform('append', ['x'])
      if (action === 'close') node.close()
      return list.reduce(state, action)
    }
  })
  for (const action of ['perform', 'close']) {
    const error = await rejection(node.perform('append', [action]))
    assert.deepEqual([error.code, error.outcome], ['ERR_CONFLUX_REDUCER', 'refused'])
    assert.match(error.message, new RegExp(`\`${action}\` was called inside a reducer`))
  }
  await node.perform('append', ['fine'])
  assert.deepEqual(node.getState(), ['fine'])
})

test('reading is fine everywhere', async t => {
  let node
  const read = () => node && [node.getState(), node.getProvisionalState(), node.status().state]
  node = openOne(t, {
    methods: {
      append(thing) {
        read()
        return thing
      }
    },
    reduce(state, action) {
      read()
      return list.reduce(state, action)
    }
  })
  assert.equal(await node.perform('append', ['x']), 'x')
})

test('another node of the process is no way round', async t => {
  const other = openOne(t)
  await other.perform('append', ['before'])
  const acts = {
    perform: () => other.perform('append', ['x']),
    callback: () => other.perform('append', ['x'], () => {}),
    close: () => other.close(),
    sync: () => other.sync(),
    transferLeadership: () => other.transferLeadership(),
    remove: () => other.remove('b'),
    resize: () => other.resize(3),
    recover: () => other.recover({ iUnderstandThatActionsMayBeLost: true })
  }
  const caught = []
  const attempt = name => {
    try {
      acts[name]()
    } catch (error) {
      caught.push([name, error.code])
    }
  }
  const places = {
    methods: {
      method(name) {
        attempt(name)
        return null
      },
      throws: name => acts[name](),
      append: name => name
    },
    reduce(state = [], action) {
      if (action !== null) attempt(action)
      return state
    },
    compareStates: false
  }
  const node = openOne(t, places)
  for (const name of Object.keys(acts)) {
    caught.length = 0
    await node.perform('method', [name])
    assert.deepEqual(caught, [[name, 'ERR_CONFLUX_REENTRANT']], `${name} inside a method`)
    const error = await rejection(node.perform('throws', [name]))
    assert.deepEqual([error.code, error.outcome], ['ERR_CONFLUX_REENTRANT', 'refused'])
    caught.length = 0
    await node.perform('append', [name])
    assert.ok(caught.length >= 1, `${name} inside the reducer`)
    assert.deepEqual(new Set(caught.map(([, code]) => code)), new Set(['ERR_CONFLUX_REENTRANT']))
  }
  assert.equal(other.status().state, 'open')
  assert.deepEqual(other.getState(), ['before'])
  assert.equal(await other.perform('append', ['after']), 'after')
})

test('`serialize` is no way round, either', async t => {
  const other = openOne(t)
  const caught = []
  const serialize = state => {
    try {
      other.perform('append', ['x'])
    } catch ({ code }) {
      caught.push(code)
    }
    return state
  }
  const snapshot = { entries: 1, serialize, deserialize: state => state }
  const node = openOne(t, { snapshot, compareStates: false })
  await node.perform('append', ['x'])
  await until('a snapshot', () => caught.length > 0)
  assert.equal(caught[0], 'ERR_CONFLUX_REENTRANT')
})

test('a node may be made inside a method of another, and neither is mistaken for the other afterwards', async t => {
  // Its initial state is reduced meanwhile: what runs outside of it still runs when that has ended.
  let inner
  const outer = openOne(t, {
    methods: {
      nests() {
        inner ??= openNode(t, {
          id: 'inner',
          clusterSize: 1,
          channel: { name: 'memory', channelName: randomUUID() },
          ...list
        })
        return this.perform('nests')
      }
    }
  })
  const error = await rejection(outer.perform('nests'))
  assert.deepEqual([error.code, error.outcome], ['ERR_CONFLUX_REENTRANT', 'refused'])
  assert.equal(await inner.perform('append', ['x']), 'x')
})

test('subscribers and callers may perform on any node', async t => {
  const nodes = openCluster(t, 3)
  await elected(nodes)
  const [one, other] = nodes
  const performing = []
  const unsubscribe = one.subscribe(() => {
    unsubscribe()
    performing.push(other.perform('append', ['by a subscriber']))
  })
  await one.perform('append', ['x'])
  await other.perform('append', ['by a caller'])
  assert.deepEqual(await Promise.all(performing), ['by a subscriber'])
})
