/**
 * Shows that what an application throws ends no process and no cluster: methods and reducers that throw or
 * give promises, thousands of times, and all states stay equal.
 *
 * CONFLUX_THROWS sets how often (default 1000).
 */
'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')

const { elected, list, openCluster, rejection } = require('./nodes')

const THROWS = Number(process.env.CONFLUX_THROWS ?? 1000)

/** What the application does wrong, by the name of the method; and how the call of it ends. */
const WRONG = {
  throws: { code: 'ERR_CONFLUX_METHOD_THREW', message: 'thrown by a method' },
  throwsNothing: { code: 'ERR_CONFLUX_METHOD_THREW' },
  promises: { code: 'ERR_CONFLUX_ASYNC_METHOD' },
  poisons: { code: 'ERR_CONFLUX_REDUCER', message: 'thrown by the reducer' }
}

const application = {
  methods: {
    ...list.methods,
    throws() {
      throw new Error('thrown by a method')
    },
    throwsNothing() {
      throw undefined
    },
    async promises() {
      throw new Error('a promise that rejects')
    },
    poisons: () => 'poison'
  },
  reduce(state, action) {
    if (action === 'poison') throw new Error('thrown by the reducer')
    return list.reduce(state, action)
  }
}

test(`${THROWS} calls that throw: each rejects with its cause, and what is between them is done`, async t => {
  const nodes = openCluster(t, 3, application)
  await elected(nodes)
  const unhandled = []
  const note = error => unhandled.push(error)
  process.on('unhandledRejection', note)
  t.after(() => process.off('unhandledRejection', note))

  const names = Object.keys(WRONG)
  const batch = 100
  for (let done = 0; done < THROWS; done += batch) {
    await Promise.all(
      Array.from({ length: Math.min(batch, THROWS - done) }, async (_, i) => {
        const name = names[i % names.length]
        const error = await rejection(nodes[i % 3].perform(name))
        assert.deepEqual([error.code, error.outcome], [WRONG[name].code, 'refused'], error.message)
        if (WRONG[name].message) assert.ok(error.message.includes(WRONG[name].message), error.message)
      })
    )
    await nodes[done % 3].perform('append', [done])
  }

  await Promise.all(nodes.map(node => node.sync()))
  const expected = Array.from({ length: Math.ceil(THROWS / batch) }, (_, i) => i * batch)
  for (const node of nodes) {
    assert.deepEqual(node.getState(), expected)
    const { state, diverged } = node.status()
    assert.deepEqual([state, diverged], ['open', null])
  }
  assert.deepEqual(unhandled, [])
})
