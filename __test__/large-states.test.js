/**
 * Shows that a large state is compared, kept and restored while the event loop turns and calls are served.
 *
 * CONFLUX_STATE_MB sets the size of the states in processes (default 3); from 100 on, there are longer phases.
 * CONFLUX_STATE_ONE_MB sets that of one durable node (default 3). The figures are printed.
 */
'use strict'

const assert = require('node:assert/strict')
const diagnostics = require('node:diagnostics_channel')
const { randomUUID } = require('node:crypto')
const test = require('node:test')

const conflux = require('..')
const { LargeStateCluster } = require('./large-state-cluster')
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

const MB = Number(process.env.CONFLUX_STATE_MB ?? 3)
const MB_OF_ONE = Number(process.env.CONFLUX_STATE_ONE_MB ?? 3)
/** Each step of growth adds 1,000 records, which are a tenth of a megabyte. */
const STEPS_PER_MB = 10
const SECONDS = MB < 100 ? 0.5 : 15

const quantile = (times, q) => times.sort((a, b) => a - b)[Math.floor(q * (times.length - 1))]
const round = milliseconds => `${milliseconds.toFixed(1)} ms`

/** Starts processes with a state of one megabyte. */
async function startLarge(t, ids, options, execArgv) {
  const cluster = new LargeStateCluster({ clusterSize: ids.length, ...options }, execArgv)
  t.after(() => cluster.end())
  ids.forEach(id => cluster.start(id))
  await cluster.all('ready')
  await cluster.nodes.get('a').ask('grow', { times: STEPS_PER_MB })
  await cluster.all('sync')
  await cluster.all('longest')
  return cluster
}

/** Prints the longest block of each node, without the collector's pauses, and the longest of these. */
async function printBlocks(t, cluster, phase) {
  const figures = [...cluster.nodes.values()].map(async ({ id, ask }) => {
    const { block, pause } = await ask('longest')
    return `${id} ${block.toFixed(0)} (${pause.toFixed(0)})`
  })
  t.diagnostic(
    `${phase}: longest block (collector's longest pause), ms: ${(await Promise.all(figures)).join(', ')}`
  )
}

/** Writes on all nodes while something else is done. Returns what the calls took. */
async function writeWhile(cluster, seconds, work) {
  const writing = cluster.all('write', { seconds })
  await work()
  return (await writing).flat()
}

const nothing = async () => {}

for (const shape of ['keys', 'array', 'levels']) {
  test(`processes with a large state write, transfer, take in a node and restart: ${shape}`, async t => {
    const cluster = await startLarge(t, ['a', 'b', 'c'], {
      shape,
      snapshot: { entries: MB < 100 ? 10 : 200 }
    })
    const a = cluster.nodes.get('a')
    const ofSmall = await writeWhile(cluster, SECONDS, nothing)
    await cluster.all('longest')
    await a.ask('grow', { times: (MB - 1) * STEPS_PER_MB })
    await cluster.all('sync')
    await printBlocks(t, cluster, 'growing')
    let calls = ofSmall.length
    const before = await cluster.all('status')
    const leader = [...cluster.nodes.keys()][before.findIndex(({ role }) => role === 'leader')]

    const ofLarge = await writeWhile(cluster, SECONDS, nothing)
    calls += ofLarge.length
    await printBlocks(t, cluster, 'writing')
    for (const [q, name] of [
      [0.5, 'median'],
      [0.99, 'p99']
    ]) {
      const [small, large] = [ofSmall, ofLarge].map(times => quantile(times, q))
      t.diagnostic(
        `${name} of a call: 1 MB ${round(small)}, ${MB} MB ${round(large)}: ${(large / small).toFixed(1)} x`
      )
    }

    for (const to of ['b', 'c', 'a']) {
      const times = await writeWhile(cluster, SECONDS / 3, () => a.ask('transfer', { to }))
      calls += times.length
    }
    await printBlocks(t, cluster, 'transferring')

    // How many calls that takes depends on the machine.
    const haveSnapshots = async () =>
      (await cluster.all('status')).every(({ snapshotIndex }) => snapshotIndex > 0)
    while (!(await haveSnapshots())) calls += (await writeWhile(cluster, 0.2, nothing)).length

    const whileJoining = await writeWhile(cluster, SECONDS, () => cluster.start('d').ask('ready'))
    calls += whileJoining.length
    await printBlocks(t, cluster, 'taking in d')

    await cluster.stop('c')
    const whileRestarting = await writeWhile(cluster, SECONDS, () => cluster.start('c').ask('ready'))
    calls += whileRestarting.length
    await printBlocks(t, cluster, 'restarting c')
    t.diagnostic(
      `p99 while d joins ${round(quantile(whileJoining, 0.99))}, while c restarts ${round(quantile(whileRestarting, 0.99))}`
    )

    await cluster.all('sync')
    const statuses = await cluster.all('status')
    const ofNodes = Object.fromEntries([...cluster.nodes.keys()].map((id, i) => [id, statuses[i]]))
    const transfers = [leader, 'b', 'c', 'a'].filter((id, i, ids) => i > 0 && id !== ids[i - 1]).length
    t.diagnostic(`elections beside the transfers: ${ofNodes.a.term - before[0].term - transfers}`)
    t.diagnostic(`snapshots: ${statuses.map(({ snapshots }) => JSON.stringify(snapshots)).join(' ')}`)
    for (const { sum, count } of statuses)
      assert.deepEqual({ sum, count }, { sum: calls, count: MB * 10_000 })
    for (const { snapshots } of statuses) assert.equal(snapshots.failed, 0)
    for (const id of ['c', 'd']) assert.ok(ofNodes[id].snapshots.restored > 0, id)
    assert.ok(ofNodes.a.snapshots.taken > 0)
    assert.deepEqual(
      cluster.warnings.filter(text => /FAILED|DIVERGED|SNAPSHOT/.test(text)),
      []
    )
  })
}

test('a durable node with a large state takes a snapshot, restarts, and takes in another one', async t => {
  const execArgv = MB_OF_ONE < 500 ? [] : ['--max-old-space-size=8192']
  const cluster = await startLarge(
    t,
    ['a'],
    { shape: 'keys', snapshot: { entries: MB_OF_ONE < 100 ? 10 : 50 } },
    execArgv
  )
  const timed = async (what, work) => {
    const start = performance.now()
    await work()
    t.diagnostic(`${what}: ${((performance.now() - start) / 1000).toFixed(1)} s`)
  }
  const start = () => cluster.start('a').ask('ready')
  await timed('growing', () => cluster.nodes.get('a').ask('grow', { times: (MB_OF_ONE - 1) * STEPS_PER_MB }))
  await printBlocks(t, cluster, 'growing')
  const index = (await cluster.nodes.get('a').ask('status')).snapshotIndex
  let calls = 0
  await timed('the next snapshot, with writes', async () => {
    const { ask } = cluster.nodes.get('a')
    // A gigabyte takes minutes.
    do calls += (await ask('write', { seconds: 1 })).length
    while ((await ask('status')).snapshotIndex === index)
  })
  await printBlocks(t, cluster, 'a snapshot')
  await cluster.stop('a')
  await timed('restarting', start)
  await printBlocks(t, cluster, 'restarting')
  await timed('taking in b', () => cluster.start('b').ask('ready'))
  await printBlocks(t, cluster, 'taking in b')
  await cluster.all('sync')
  for (const { sum, count, snapshots, rss } of await cluster.all('status')) {
    assert.deepEqual({ sum, count }, { sum: calls, count: MB_OF_ONE * 10_000 })
    assert.ok(snapshots.restored > 0)
    t.diagnostic(`resident: ${(rss / 1e6).toFixed(0)} MB`)
  }
})
