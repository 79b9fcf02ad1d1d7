// Shows that large arguments and actions, which pass between façade and core beside the text of their turn, arrive
// unchanged and in their order among small ones.

'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')

const { elected, openCluster, openOne, rejection } = require('./nodes')

/** Around the size from which a text is large, and far from it. */
const SIZES = [0, 1, 2000, 2040, 2048, 2100, 70_000]

const LETTERS = ['x', '"', '\\', '\n', 'é', '日', '😀', '\ud800']

const methods = {
  append: x => x,
  repeat: (letter, count) => ({ text: letter.repeat(count) }),
  length: text => text.length
}

const reduce = (state = [], action) => (action === null ? state : [...state, action])

test('values of all sizes from all nodes arrive unchanged, in call order', async t => {
  const nodes = openCluster(t, 3, { methods, reduce })
  await elected(nodes)
  for (const node of nodes) {
    await node.sync()
    const before = node.getState().length
    const calls = SIZES.flatMap(size =>
      LETTERS.flatMap(letter => [
        ['append', { letter, text: letter.repeat(size) }, action => action],
        ['length', letter.repeat(size), text => text.length]
      ])
    )
    const results = calls.map(([method, value]) => node.perform(method, [value]))
    const expected = calls.map(([, value, of]) => of(value))
    assert.deepEqual(await Promise.all(results), expected)
    assert.deepEqual(node.getState().slice(before), expected)
  }
  for (const node of nodes) {
    await node.sync()
    assert.deepEqual(node.getState(), nodes[0].getState())
  }
})

test('a small call makes a large action, and an action that is the number 0 is no reference', async t => {
  const nodes = openCluster(t, 3, { methods, reduce })
  await elected(nodes)
  for (const node of nodes) {
    const results = [
      node.perform('repeat', ['é', 5000]),
      node.perform('append', [0]),
      node.perform('repeat', ['y', 5000]),
      node.perform('append', [1])
    ]
    const expected = [{ text: 'é'.repeat(5000) }, 0, { text: 'y'.repeat(5000) }, 1]
    assert.deepEqual(await Promise.all(results), expected)
  }
})

test('a caller that changes the large action that it got changes no state', async t => {
  const nodes = openCluster(t, 3, { methods, reduce })
  await elected(nodes)
  for (const node of nodes) {
    const action = await node.perform('append', [{ rows: Array(2000).fill(1) }])
    action.rows[0] = 'changed'
    assert.equal(node.getState().at(-1).rows[0], 1)
  }
})

test('aborted in the turn of the call, no large argument takes the place of another', async t => {
  const node = openOne(t, { methods, reduce })
  await node.ready()
  const texts = Array.from({ length: 8 }, (_, i) => String(i).repeat(i % 2 === 0 ? 5000 : 5))
  for (const aborted of [[0], [1], [2, 4], [0, 3, 6], [6, 7], [0, 1, 2, 3, 4, 5, 6, 7]]) {
    const before = node.getState().length
    const controllers = texts.map(() => new AbortController())
    const calls = texts.map((text, i) => {
      const call = node.perform('append', [text], { signal: controllers[i].signal })
      return aborted.includes(i) ? rejection(call) : call
    })
    for (const i of aborted) controllers[i].abort()
    const results = await Promise.all(calls)
    const kept = texts.filter((_, i) => !aborted.includes(i))
    assert.deepEqual(
      results.filter((_, i) => !aborted.includes(i)),
      kept
    )
    await node.sync()
    assert.deepEqual(node.getState().slice(before), kept)
  }
})
