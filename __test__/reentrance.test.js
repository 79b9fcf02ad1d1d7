// This file shows that methods and reducers only compute: what would act from inside one is told so.

'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')

const { list, openOne, rejection } = require('./nodes')

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
  assert.equal(caught[0].message, '`perform` was called inside a method; methods and reducers only compute')
  assert.equal(caught[2].message, '`close` was called inside a method; methods and reducers only compute')

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
