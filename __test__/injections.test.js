/**
 * Makes reducers differ on one node, again and again: each time that node has diverged within two seconds and
 * restored, and no other one is ever accused.
 *
 * CONFLUX_INJECTIONS sets how often (default 3), once in a cluster of its own and once between rolling changes of the
 * version; CONFLUX_ALIKE how many actions are reduced without a difference (default 20000).
 */
'use strict'

const assert = require('node:assert/strict')
const { randomUUID } = require('node:crypto')
const test = require('node:test')
const { setTimeout: delay } = require('node:timers/promises')

const { elected, list, openCluster, openNode, until } = require('./nodes')

const INJECTIONS = Number(process.env.CONFLUX_INJECTIONS ?? 3)
const ALIKE = Number(process.env.CONFLUX_ALIKE ?? 20_000)
const DIVERGED_WITHIN_MS = 2000
const COMPARED_WITHIN_MS = 1200

test(`${INJECTIONS} reducers that differ on one node`, async t => {
  const times = []
  for (let injection = 1; injection <= INJECTIONS; injection++) {
    const target = { id: null }
    const nodes = openCluster(t, 3, id => ({
      reduce: (state, action) => list.reduce(state, action === 'odd' && id === target.id ? 'even' : action)
    }))
    const { leader, followers } = await elected(nodes)
    const diverged = []
    for (const node of nodes) node.on('diverged', () => diverged.push(node))
    // Where it is the leader that differs, too.
    const differing = injection % 3 === 0 ? leader : followers[injection % 2]
    target.id = differing.status().id
    const start = performance.now()
    await leader.perform('append', ['odd'])
    await until('it to diverge', () => diverged.length > 0)
    times.push(performance.now() - start)
    assert.deepEqual(diverged, [differing])
    target.id = null
    await until('it to be restored', () => differing.status().diverged === null)
    await differing.sync()
    assert.deepEqual(differing.getState(), ['odd'])
    await Promise.all(nodes.map(node => node.close()))
  }
  const slowest = Math.max(...times)
  t.diagnostic(`${INJECTIONS} injections; diverged after at most ${Math.round(slowest)} ms`)
  assert.ok(slowest <= DIVERGED_WITHIN_MS, `diverged only after ${slowest} ms`)
})

test(`${INJECTIONS} reducers that differ on one node, each after a rolling change of the version`, async t => {
  const channelName = randomUUID()
  const target = { id: null }
  const accused = []
  /** Every version reduces what earlier ones perform as they do, and knows a thing more: its own name. */
  const open = (id, version) => {
    const node = openNode(t, {
      id,
      version: String(version),
      clusterSize: 3,
      channel: { name: 'memory', channelName },
      methods: list.methods,
      reduce(state, action) {
        if (action > version) return state
        return list.reduce(state, action === 'odd' && id === target.id ? 'even' : action)
      }
    })
    node.on('diverged', () => accused.push(id))
    node.on('warning', ({ code }) => code === 'WARN_CONFLUX_STATES_DIFFER' && accused.push(code))
    return node
  }
  const ids = ['a', 'b', 'c']
  const nodes = new Map(ids.map(id => [id, open(id, 0)]))
  const all = () => [...nodes.values()]
  const times = []
  const expected = []

  for (let version = 1; version <= INJECTIONS; version++) {
    const { leader: old } = await elected(all())
    const isOld = id => id === old.status().id
    // Followers first: then the old leader, whose state is another as soon as a new version has led.
    for (const id of ids.toSorted((x, y) => isOld(x) - isOld(y))) {
      if (isOld(id)) {
        const transferTarget = ids.find(other => !isOld(other))
        await old.transferLeadership(transferTarget)
        await nodes.get(transferTarget).perform('append', [version])
        expected.push(version)
        assert.deepEqual(nodes.get(transferTarget).getState(), expected)
        await old.sync()
        assert.deepEqual(
          old.getState(),
          expected.slice(0, -1),
          'both versions reduced alike: nothing was shown'
        )
        // Time for a comparison: none is more often than once a second.
        await delay(COMPARED_WITHIN_MS)
      }
      await nodes.get(id).close()
      nodes.set(id, open(id, version))
      await nodes.get(id).ready()
      await until('a leader with three voters', () => {
        const leader = all().find(node => node.status().role === 'leader')
        return leader?.status().members.filter(({ voter }) => voter).length === 3
      })
    }
    assert.deepEqual(accused, [], `at version ${version}`)

    const { leader, followers } = await elected(all())
    const differing = version % 3 === 0 ? leader : followers[version % 2]
    target.id = differing.status().id
    const start = performance.now()
    await leader.perform('append', ['odd'])
    expected.push('odd')
    await until('it to diverge', () => accused.length > 0)
    times.push(performance.now() - start)
    assert.deepEqual(accused.splice(0), [target.id])
    target.id = null
    await until('it to be restored', () => differing.status().diverged === null)
    for (const node of all()) {
      await node.sync()
      assert.deepEqual(node.getState(), expected)
    }
  }
  const slowest = Math.max(...times)
  t.diagnostic(
    `${INJECTIONS} versions, each on three nodes, and as many injections; diverged after at most ` +
      `${Math.round(slowest)} ms; no other node was accused`
  )
  assert.ok(slowest <= DIVERGED_WITHIN_MS, `diverged only after ${slowest} ms`)
})

test(`${ALIKE} actions without a difference: no node diverges`, async t => {
  const count = { methods: { add: number => number }, reduce: (sum = 0, number) => sum + (number ?? 0) }
  const nodes = openCluster(t, 3, count)
  await elected(nodes)
  const accused = []
  for (const node of nodes) {
    node.on('diverged', error => accused.push(error))
    node.on('warning', warning => accused.push(warning))
  }
  for (let done = 0; done < ALIKE; done += 1000) {
    await Promise.all(Array.from({ length: 1000 }, (_, i) => nodes[i % 3].perform('add', [1])))
  }
  await Promise.all(nodes.map(node => node.sync()))
  assert.deepEqual(nodes.map(node => node.getState()), Array(3).fill(Math.ceil(ALIKE / 1000) * 1000)) // prettier-ignore
  assert.deepEqual(accused, [])
})
