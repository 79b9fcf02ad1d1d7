// Shows `node.commits`: the committed actions one by one, without a gap, as far as the log reaches back.

'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')

const { elected, list, makeFolder, openCluster, openNode, openOne, rejection, until } = require('./nodes')

const letters = count => Array.from({ length: count }, (_, i) => `x${i}`)

/** The next so many of an iterator. */
async function take(commits, count) {
  const taken = []
  while (taken.length < count) {
    const { done, value } = await commits.next()
    assert.equal(done, false)
    taken.push(value)
  }
  return taken
}

test('every node gives every action once, in order, with its index, from all nodes', async t => {
  const nodes = openCluster(t, 3)
  await elected(nodes)
  const iterators = nodes.map(node => node.commits())
  const early = Promise.all(iterators.map(commits => take(commits, 300)))
  await Promise.all(letters(300).map((letter, i) => nodes[i % 3].perform('append', [letter])))
  const taken = await early
  for (const [i, commits] of taken.entries()) {
    await nodes[i].sync()
    assert.deepEqual(
      commits.map(({ action }) => action),
      nodes[i].getState()
    )
    assert.ok(commits.every(({ index }, at) => at === 0 || index > commits[at - 1].index))
    assert.deepEqual(commits, taken[0])
  }
})

test('a slow reader misses nothing, and `from` goes on where another was', async t => {
  const node = openOne(t)
  const commits = node.commits()
  await Promise.all(letters(2000).map(letter => node.perform('append', [letter.padEnd(1000)])))
  const [first, second] = await take(commits, 2)
  assert.equal(first.action.trim(), 'x0')
  const resumed = await take(node.commits({ from: second.index + 1 }), 1998)
  assert.deepEqual(
    resumed.map(({ action }) => action),
    node.getState().slice(2)
  )
  // What is to come is waited for.
  const later = node.commits({ from: resumed.at(-1).index + 2 })
  const next = later.next()
  await node.perform('append', ['before'])
  await node.perform('append', ['there'])
  assert.equal((await next).value.action, 'there')
})

test('`status().appliedIndex` belongs to the state at each moment, also inside of listeners', async t => {
  const nodes = openCluster(t, 3)
  await elected(nodes)
  const seen = nodes.map(node => {
    const [all, behind] = [[], []]
    node.subscribe(({ index }) => {
      const { appliedIndex, commitIndex } = node.status()
      all.push(index)
      if (appliedIndex !== index) behind.push({ index, appliedIndex, commitIndex })
    })
    return { all, behind }
  })
  for (let round = 0; round < 10; round++) {
    await Promise.all(letters(30).map((letter, i) => nodes[i % 3].perform('append', [letter])))
  }
  for (const node of nodes) await node.sync()
  for (const { all, behind } of seen) assert.deepEqual([all.length, behind], [300, []])
})

test('an action that was repeated and ignored is not there twice, refusals are not there at all', async t => {
  const nodes = openCluster(t, 3, {
    methods: { ...list.methods, refuse: () => new Error('no'), nothing: () => undefined }
  })
  let { leader } = await elected(nodes)
  const commits = nodes.map(node => node.commits())
  const performing = []
  for (let round = 0; round < 10; round++) {
    for (const node of nodes) {
      for (const letter of letters(20)) performing.push(node.perform('append', [`${round} ${letter}`]))
      performing.push(rejection(node.perform('refuse')), node.perform('nothing'))
    }
    await leader.transferLeadership()
    ;({ leader } = await elected(nodes))
  }
  await Promise.all(performing)
  for (const [i, node] of nodes.entries()) {
    await node.sync()
    const state = node.getState()
    assert.equal(state.length, 600)
    assert.deepEqual(
      (await take(commits[i], 600)).map(({ action }) => action),
      state
    )
  }
})

test('beyond the begin of the log it says where that is', async t => {
  const node = openOne(t, { snapshot: { entries: 10 } })
  const commits = node.commits({ from: 2 })
  for (const letter of letters(100)) await node.perform('append', [letter])
  await until('a snapshot', () => node.status().snapshotIndex > 50)
  const error = await rejection(commits.next())
  assert.deepEqual([error.code, error.index], ['ERR_CONFLUX_COMPACTED', 2])
  assert.ok(error.firstIndex > 2 && error.firstIndex <= node.status().appliedIndex)
  assert.deepEqual(await commits.next(), { done: true, value: undefined })
  const { value } = await node.commits({ from: error.firstIndex }).next()
  assert.ok(value.index >= error.firstIndex)
})

test('it ends with its signal, with `break`, and with the node', async t => {
  const node = openOne(t)
  await node.perform('append', ['x'])
  for await (const { action } of node.commits({ from: 1 })) {
    assert.equal(action, 'x')
    break
  }
  const controller = new AbortController()
  const aborted = node.commits({ signal: controller.signal })
  const waiting = rejection(aborted.next())
  controller.abort('enough')
  const error = await waiting
  assert.deepEqual([error.name, error.code, error.cause], ['AbortError', 'ABORT_ERR', 'enough'])
  assert.deepEqual(await aborted.next(), { done: true, value: undefined })
  const before = await rejection(node.commits({ signal: controller.signal }).next())
  assert.equal(before.name, 'AbortError')
  const returned = node.commits()
  const next = returned.next()
  await returned.return()
  assert.equal((await next).done, true)
  const seen = []
  const reading = (async () => {
    for await (const { action } of node.commits()) seen.push(action)
  })()
  await node.perform('append', ['y'])
  await node.close()
  await reading
  assert.deepEqual(seen, ['y'])
  assert.throws(() => node.commits(), { code: 'ERR_CONFLUX_CLOSED' })
})

test('options that are none throw', t => {
  const node = openOne(t)
  for (const options of [{ form: 1 }, { from: 0 }, { from: '1' }, { from: 1.5 }, { signal: 1 }, 1]) {
    assert.throws(() => node.commits(options), { code: 'ERR_CONFLUX_INVALID_ARGUMENT' })
  }
  assert.throws(() => node.commits({ form: 1 }), {
    message: 'the option "form" is unknown; did you mean "from"?'
  })
  assert.throws(() => node.commits({ from: 0 }), {
    message: '"from" must be a positive integer, an index, got 0'
  })
})

test('after a restart from disk the log is there as far as it was replayed', async t => {
  const directory = makeFolder(t)
  const open = () =>
    openNode(t, {
      id: 'a',
      clusterSize: 1,
      channel: { name: 'memory', channelName: directory },
      storage: { path: directory },
      ...list
    })
  const node = open()
  await Promise.all(letters(30).map(letter => node.perform('append', [letter])))
  const { appliedIndex } = node.status()
  await node.close()
  const again = open()
  await again.ready()
  const commits = await take(again.commits({ from: 1 }), 30)
  assert.deepEqual(
    commits.map(({ action }) => action),
    letters(30)
  )
  assert.ok(commits.at(-1).index <= appliedIndex)
})
