// This file shows that what an application's code throws is told to whoever performed, and harms nobody: methods and
// reducers that throw or return promises, on every node. `CONFLUX_THROWS=10000` is the long form.
//
// A reducer that throws on one node only, or at replay, is told of in fence.test.js and storage.test.js.

'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')

const { elected, openCluster, rejection, until } = require('./nodes')

const THROWS = Number(process.env.CONFLUX_THROWS ?? 1000)
const AT_ONCE = 100

const methods = {
  append: thing => thing,
  throws(why) {
    throw new TypeError(why)
  },
  returnsError: why => new RangeError(why),
  rejects: async why => {
    throw new Error(why)
  },
  spoils: why => ({ throws: why }),
  spoilsLate: why => ({ rejects: why })
}

function reduce(state, action) {
  if (action === null) return []
  if (action.throws !== undefined) throw new Error(action.throws)
  if (action.rejects !== undefined) return Promise.reject(new Error(action.rejects))
  return [...state, action]
}

/** What each is rejected with. */
const KINDS = {
  throws: why => ['ERR_CONFLUX_REFUSED', why],
  returnsError: why => ['ERR_CONFLUX_REFUSED', why],
  rejects: () => [
    'ERR_CONFLUX_ASYNC_METHOD',
    'the method `rejects` returned a promise; methods must be synchronous'
  ],
  spoils: why => ['ERR_CONFLUX_REDUCER', `the reducer threw on the action of \`spoils\`: ${why}`],
  spoilsLate: () => [
    'ERR_CONFLUX_REDUCER',
    'the reducer threw on the action of `spoilsLate`: the reducer returned a promise; reducers must be synchronous'
  ]
}

test(`${THROWS} throws reject their performs with the cause, and harm nobody`, async t => {
  const nodes = openCluster(t, 3, { methods, reduce })
  await elected(nodes)
  const kinds = Object.entries(KINDS)
  let appended = 0
  for (let first = 0; first < THROWS; first += AT_ONCE) {
    const count = Math.min(AT_ONCE, THROWS - first)
    const ends = Array.from({ length: count }, async (_, i) => {
      const node = nodes[i % nodes.length]
      const [method, expected] = kinds[i % kinds.length]
      const why = `${first + i}`
      const error = await rejection(node.perform(method, [why]))
      assert.deepEqual([error.code, error.message], expected(why))
      assert.equal(error.outcome, 'refused')
    })
    // What is performed between them is not harmed.
    const thing = nodes[first % nodes.length].perform('append', [first])
    await Promise.all([...ends, thing])
    appended++
  }
  for (const node of nodes) {
    await until('every node to apply all', () => node.getState().length === appended)
    assert.deepEqual(node.getState(), nodes[0].getState())
    const { state, fenced } = node.status()
    assert.deepEqual([state, fenced], ['open', null])
  }
})
