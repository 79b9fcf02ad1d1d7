// Shows that a large state is compared, kept and restored while the event loop turns and calls are served.

'use strict'

const assert = require('node:assert/strict')
const diagnostics = require('node:diagnostics_channel')
const { randomUUID } = require('node:crypto')
const test = require('node:test')

const conflux = require('..')
const { until } = require('./nodes')

/** Some 20 MB as JSON, in records of 100 characters. */
const RECORDS = 200_000

const record = i => ({ id: i, name: `name ${i}`, text: 'x'.repeat(60) })

/** One array; 200 objects of 1,000 members; 200 levels of 1,000 items. */
const SHAPES = {
  array: () => ({ list: Array.from({ length: RECORDS }, (_, i) => record(i)) }),
  members: () =>
    Object.fromEntries(
      Array.from({ length: RECORDS / 1000 }, (_, i) => [
        `group ${i}`,
        Object.fromEntries(Array.from({ length: 1000 }, (_, j) => [`key ${i} ${j}`, record(j)]))
      ])
    ),
  levels() {
    let state = {}
    for (let i = 0; i < RECORDS / 1000; i++) {
      state = { inner: state, items: Array.from({ length: 1000 }, (_, j) => record(j)) }
    }
    return state
  }
}

function open(t, id, channelName, first, given = {}) {
  const node = conflux({
    id,
    clusterSize: 1,
    channel: { name: 'memory', channelName },
    methods: { add: n => ({ add: n }) },
    reduce: (state, action) =>
      action === null ? { large: first, n: 0 } : { ...state, n: state.n + action.add },
    ...given
  })
  t.after(() => node.close())
  return node
}

/** Counts the turns of the event loop. */
function countTurns(t) {
  const counter = { turns: 0 }
  let isOver = false
  t.after(() => (isOver = true))
  const turn = () => {
    counter.turns++
    if (!isOver) setImmediate(turn)
  }
  setImmediate(turn)
  return counter
}

/** Every snapshot of a node, with the turns of the event loop before it. */
function watchSnapshots(t, counter) {
  const seen = []
  const listener = ({ id, what }) => seen.push({ id, what, turns: counter.turns })
  diagnostics.subscribe('conflux:snapshot', listener)
  t.after(() => diagnostics.unsubscribe('conflux:snapshot', listener))
  return seen
}

for (const [shape, make] of Object.entries(SHAPES)) {
  test(`a large state is kept and restored while the event loop turns: ${shape}`, async t => {
    const counter = countTurns(t)
    const seen = watchSnapshots(t, counter)
    const channelName = randomUUID()
    const first = open(t, 'a', channelName, make(), { snapshot: { entries: 3 } })
    await first.ready()
    for (let i = 0; i < 6; i++) await first.perform('add', [1])
    const before = counter.turns
    // Calls are served while the snapshot is being taken.
    let calls = 0
    while (!seen.some(({ what }) => what === 'taken')) {
      await first.perform('add', [1])
      calls++
    }
    const [taken] = seen
    assert.deepEqual([taken.id, taken.what], ['a', 'taken'])
    assert.ok(taken.turns - before > 30, `the event loop turned ${taken.turns - before} times`)
    assert.ok(calls > 10, `${calls} calls`)
    await until('the snapshot counts', () => first.status().snapshotIndex > 0)

    const second = open(t, 'b', channelName, null)
    const joining = counter.turns
    await second.ready()
    const restored = seen.find(({ id, what }) => id === 'b' && what === 'restored')
    assert.ok(restored.turns - joining > 30, `the event loop turned ${restored.turns - joining} times`)
    assert.equal(JSON.stringify(second.getState()), JSON.stringify(first.getState()))
    assert.ok(Object.isFrozen(second.getState().large))
    await second.perform('add', [1])
    assert.equal(second.getState().n, 7 + calls)
  })
}

test('large states that differ are found, while calls are served', async t => {
  const channelName = randomUUID()
  const large = SHAPES.members()
  const nodes = ['a', 'b', 'c'].map(id =>
    open(t, id, channelName, large, {
      clusterSize: 3,
      reduce(state, action) {
        if (action === null) return { large, n: 0 }
        const n = state.n + action.add
        // Depends on the node, as a reducer must not.
        if (action.add !== 7 || id !== 'b') return { ...state, n }
        return {
          large: { ...state.large, 'group 5': { ...state.large['group 5'], 'key 5 5': record(7) } },
          n
        }
      }
    })
  )
  await Promise.all(nodes.map(node => node.ready()))
  const diverged = new Promise(resolve => nodes[1].on('diverged', resolve))
  await nodes[0].perform('add', [7])
  let isFound = false
  const found = diverged.then(error => {
    isFound = true
    return error
  })
  while (!isFound) await nodes[0].perform('add', [1])
  assert.match((await found).message, /a majority's has/)
  for (const node of [nodes[0], nodes[2]]) assert.equal(node.status().diverged, null)
})
