/**
 * This file makes reducers differ on one node, again and again: each time that node is fenced within two seconds and
 * healed, and no other one is ever accused.
 *
 * CONFLUX_INJECTIONS sets how often (default 3), CONFLUX_ALIKE how many actions are reduced without a difference
 * (default 20000).
 */
'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')

const { elected, list, openCluster, until } = require('./nodes')

const INJECTIONS = Number(process.env.CONFLUX_INJECTIONS ?? 3)
const ALIKE = Number(process.env.CONFLUX_ALIKE ?? 20_000)
const FENCED_WITHIN_MS = 2000

test(`${INJECTIONS} reducers that differ on one node`, async t => {
  const times = []
  for (let injection = 1; injection <= INJECTIONS; injection++) {
    const victim = { id: null }
    const nodes = openCluster(t, 3, id => ({
      reduce: (state, action) => list.reduce(state, action === 'odd' && id === victim.id ? 'even' : action)
    }))
    const { leader, followers } = await elected(nodes)
    const fenced = []
    for (const node of nodes) node.on('fenced', () => fenced.push(node))
    // Where it is the leader that differs, too.
    const differing = injection % 3 === 0 ? leader : followers[injection % 2]
    victim.id = differing.status().id
    const start = performance.now()
    await leader.perform('append', ['odd'])
    await until('it to be fenced', () => fenced.length > 0)
    times.push(performance.now() - start)
    assert.deepEqual(fenced, [differing])
    victim.id = null
    await until('it to be healed', () => differing.status().fenced === null)
    await differing.sync()
    assert.deepEqual(differing.getState(), ['odd'])
    await Promise.all(nodes.map(node => node.close()))
  }
  const slowest = Math.max(...times)
  t.diagnostic(`${INJECTIONS} injections; fenced after at most ${Math.round(slowest)} ms`)
  assert.ok(slowest <= FENCED_WITHIN_MS, `fenced only after ${slowest} ms`)
})

test(`${ALIKE} actions without a difference: nobody is fenced`, async t => {
  const count = { methods: { add: number => number }, reduce: (sum = 0, number) => sum + (number ?? 0) }
  const nodes = openCluster(t, 3, count)
  await elected(nodes)
  const accused = []
  for (const node of nodes) {
    node.on('fenced', error => accused.push(error))
    node.on('warning', warning => accused.push(warning))
  }
  for (let done = 0; done < ALIKE; done += 1000) {
    await Promise.all(Array.from({ length: 1000 }, (_, i) => nodes[i % 3].perform('add', [1])))
  }
  await Promise.all(nodes.map(node => node.sync()))
  assert.deepEqual(nodes.map(node => node.getState()), Array(3).fill(Math.ceil(ALIKE / 1000) * 1000)) // prettier-ignore
  assert.deepEqual(accused, [])
})
