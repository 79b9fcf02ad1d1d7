// Shows the façade's side of what passes between it and the core: what it makes of a delivery, and what it
// says back. The core here is a script, so that what takes a cluster months to come to can be said in a line.

'use strict'

const assert = require('node:assert/strict')
const { randomUUID } = require('node:crypto')
const test = require('node:test')

const { Node } = require('../lib/node')
const options = require('../lib/options')
const { Pass } = require('../lib/state-hash')
const { list, rejection, until } = require('./nodes')

const KIND = {
  role: 0,
  evaluate: 2,
  committedProvisional: 3,
  committed: 5,
  committedOwn: 6,
  stopped: 11,
  takeSnapshot: 12,
  restore: 13,
  hash: 14,
  replayed: 15,
  operationDone: 16,
  operationFailed: 17,
  diverged: 18,
  restored: 19,
  settledDone: 20,
  reportProgress: 22,
  caughtUp: 23
}

/**
 * A node, `deliver(items, states)` as the core would, and what the node said, call by call; but for how long the
 * evaluations of each batch took, which is in `micros`.
 */
function scripted(t, given = {}) {
  const said = []
  const micros = []
  const status = { missing: [], members: [], waitingFor: null }
  let deliver
  let texts = []
  const open = (_, callback) => {
    deliver = callback
    const native = { status: () => JSON.stringify(status) }
    const verbs = [
      'progressed',
      'turnOver',
      'snapshotPiece',
      'snapshotTaken',
      'snapshotFailed',
      'hashed',
      'reducerFailed',
      'beginOperation',
      'perform',
      'close',
      'kill'
    ]
    for (const verb of verbs) {
      native[verb] = (...args) => {
        said.push([verb, ...args])
        return null
      }
    }
    // Each state is one piece, as of src/js/state_pieces.rs.
    native.statePiece = position => (texts[position] === null ? null : `[0,${texts[position]},6,0]`)
    native.answered = (text, took) => {
      said.push(['answered', text])
      micros.push(took)
    }
    return native
  }
  const { handle: node } = new Node(
    // A name of its own: a node waits for a closing one with the same id on the same channel.
    options.check({
      id: 'a',
      clusterSize: 3,
      channel: { name: 'memory', channelName: randomUUID() },
      ...list,
      ...given
    }),
    open
  )
  t.after(() => deliver(JSON.stringify([KIND.stopped, 'ERR_CONFLUX_PANIC', 'the test is over'])))
  // The end of the test is no news.
  node.on('error', () => {})
  return {
    node,
    status,
    deliver: (items, states = []) => {
      said.length = 0
      texts = states
      deliver(JSON.stringify(items))
      return said.splice(0)
    },
    raw: text => deliver(text),
    said,
    micros
  }
}

/** The hash of a value, without any that is remembered. */
function hashOf(value) {
  const pass = new Pass(null, true, value, undefined)
  assert.ok(pass.run(Infinity))
  return pass.result
}

/** Computes for so long. */
function spin(milliseconds) {
  for (const end = performance.now() + milliseconds; performance.now() < end;);
}

/** A reducer that throws on one action. */
const fragile = {
  reduce(state, action) {
    if (action === 'poison') throw new Error('indigestible')
    return list.reduce(state, action)
  }
}

test('a snapshot holds what was committed before it in the batch, and is said before the answer', t => {
  const { deliver } = scripted(t)
  const said = deliver([KIND.committed, 9, 'x', KIND.takeSnapshot, 9, KIND.committed, 10, 'y'])
  assert.deepEqual(
    said.map(([verb, first]) => [verb, first]),
    [
      ['snapshotPiece', '["x"]'],
      ['snapshotTaken', 9],
      ['answered', '[]']
    ]
  )
  const [, , micros, longest] = said[1]
  assert.ok(Number.isInteger(longest) && longest >= 0 && micros >= longest)
})

test('a state that is not JSON is no snapshot, and has no hash', t => {
  const { deliver } = scripted(t, { reduce: () => new Map(), checkState: false })
  const [snapshot, hashed] = deliver([KIND.takeSnapshot, 7, KIND.hash, 7])
  assert.equal(snapshot[0], 'snapshotFailed')
  assert.match(snapshot[2], /^state is a Map, which JSON turns into \{\}; use snapshot/)
  assert.deepEqual(hashed.slice(0, 3), ['hashed', 7, null])
})

test('a hash is of the state at its place in the batch, as it is kept', t => {
  const snapshot = { serialize: state => ({ kept: state }), deserialize: ({ kept }) => kept }
  const { deliver } = scripted(t, { snapshot })
  const said = deliver([KIND.committed, 9, 'x', KIND.hash, 9])
  assert.deepEqual(said[0].slice(0, 3), ['hashed', 9, hashOf({ kept: ['x'] })])
})

test('a restored state replaces all, and its subscribers are called once', t => {
  const snapshot = { serialize: state => ({ kept: state }), deserialize: ({ kept }) => kept }
  const { node, deliver } = scripted(t, { snapshot })
  const seen = []
  node.subscribe(() => seen.push(node.getState()))
  deliver([KIND.role, 'leader', 2, 'a', KIND.evaluate, 'append', ['provisional']])
  assert.deepEqual(node.getProvisionalState(), ['provisional'])
  assert.deepEqual(deliver([KIND.restore, 9, 0], ['{"kept":["a","b"]}']), [['answered', '[]']])
  assert.deepEqual(seen, [['a', 'b']])
  assert.equal(node.getProvisionalState(), node.getState())
  deliver([KIND.restore, 10, null])
  assert.deepEqual(seen, [['a', 'b'], []])
})

for (const [name, text, why] of [
  ['that is not text', null, /^the snapshot at that index cannot be read: it is not text$/],
  ['that is not JSON', '{', /^the snapshot at that index cannot be read: .*JSON/],
  [
    'that deserialize does not take',
    '1',
    /^the snapshot at that index cannot be read: `deserialize` threw: too old$/
  ]
]) {
  test(`a snapshot ${name} leaves the state as it is, until another comes`, t => {
    const deserialize = value => {
      if (value === 1) throw new Error('too old')
      return value
    }
    const { node, deliver } = scripted(t, { snapshot: { serialize: state => state, deserialize } })
    deliver([KIND.committed, 3, 'x'])
    const [failed, answered] = deliver([KIND.restore, 9, 0, KIND.committed, 10, 'y'], [text])
    assert.deepEqual(failed.slice(0, 2), ['reducerFailed', 9])
    assert.match(failed[2], why)
    assert.deepEqual(answered, ['answered', '[]'])
    assert.deepEqual(node.getState(), ['x'])
    deliver([KIND.restore, 11, 0, KIND.committed, 12, 'z'], ['["x","y"]'])
    assert.deepEqual(node.getState(), ['x', 'y', 'z'])
  })
}

test('after an action that cannot be reduced nothing changes the state, and every delivery is still answered', async t => {
  const { node, deliver, raw, said, micros } = scripted(t, fragile)
  let calls = 0
  node.subscribe(() => calls++)
  const performing = [node.perform('append', ['poison']), node.perform('append', ['y'])].map(rejection)
  await new Promise(setImmediate)
  said.length = 0
  raw(
    JSON.stringify([
      ...[KIND.committed, 8, 'x', KIND.committedOwn, 9, 1, 'poison', 0, KIND.committedOwn, 10, 2, 'y', 0],
      ...[KIND.committed, 11, 'z', KIND.evaluate, 'append', ['w'], KIND.takeSnapshot, 11, KIND.hash, 11]
    ])
  )
  // Those who awaited a call continue in between.
  await until('the end of the batch', () => micros.length === 1)
  assert.deepEqual(said.slice(0, 3), [
    ['reducerFailed', 9, 'the reducer threw on the action "poison": indigestible'],
    ['snapshotFailed', 11, 'the state is valid only up to the action before index 9', 0, 0],
    ['hashed', 11, null, 0]
  ])
  assert.match(said[3][1], /^\[2,\{"message":"indigestible"/)
  assert.equal(said.length, 4)
  assert.deepEqual([node.getState(), calls], [['x'], 1])
  for (const error of await Promise.all(performing)) {
    assert.deepEqual([error.code, error.outcome, error.index], ['ERR_CONFLUX_DIVERGED', 'unknown', 9])
    assert.equal(error.cause.message, 'indigestible')
  }
  deliver([KIND.committed, 12, 'later'])
  assert.deepEqual(node.getState(), ['x'])
  deliver([KIND.restore, 12, 0, KIND.restored], ['["x","restored"]'])
  assert.deepEqual(node.getState(), ['x', 'restored'])
})

test('a divergence is an event, with what this node knows of its cause', t => {
  const { node, deliver } = scripted(t, fragile)
  const events = []
  node.on('diverged', error => events.push(error))
  node.on('restored', () => events.push('restored'))
  deliver([KIND.committed, 9, 'poison'])
  deliver([KIND.diverged, 'ERR_CONFLUX_DIVERGED', 'as the core says', 9])
  deliver([KIND.restored])
  const [error, restored] = events
  assert.equal(String(error), 'Error: as the core says')
  assert.deepEqual([error.code, error.index, error.action], ['ERR_CONFLUX_DIVERGED', 9, 'poison'])
  assert.equal(error.cause.message, 'indigestible')
  assert.equal(restored, 'restored')

  // Another state than most nodes have: the reducer has nothing to say about it.
  deliver([KIND.diverged, 'ERR_CONFLUX_DIVERGED', 'differs', 12])
  assert.deepEqual({ ...events[2] }, { code: 'ERR_CONFLUX_DIVERGED', index: 12 })
  assert.equal(node.status().state, 'open')
})

test('a divergence without a listener is a warning, each time', t => {
  const { node, deliver } = scripted(t)
  const warnings = []
  node.on('warning', warning => warnings.push(warning))
  deliver([KIND.diverged, 'ERR_CONFLUX_DIVERGED', 'differs', 12])
  deliver([KIND.restored, KIND.diverged, 'ERR_CONFLUX_DIVERGED', 'differs again', 20])
  assert.deepEqual(warnings, [
    { code: 'WARN_CONFLUX_DIVERGED', message: 'differs', index: 12 },
    { code: 'WARN_CONFLUX_DIVERGED', message: 'differs again', index: 20 }
  ])
})

test('a node with storage is read only after its replay, and notifies its subscribers once', async t => {
  const { node, deliver } = scripted(t, { storage: { path: 'x' } })
  const seen = []
  node.subscribe(() => seen.push(node.getState()))
  const unread = { code: 'ERR_CONFLUX_NOT_READY', message: /before the log on disk is replayed/ }
  deliver([KIND.role, 'follower', 3, 'b', KIND.restore, 5, 0, KIND.committed, 6, 'x'], ['["old"]'])
  assert.throws(node.getState, unread)
  assert.throws(node.getProvisionalState, unread)
  assert.equal(
    (await rejection(node.ready({ timeout: 0 }))).message,
    'this node is not ready after 0 ms: replaying the log'
  )
  assert.deepEqual(seen, [])

  let isReady = false
  const ready = node.ready().then(() => (isReady = true))
  deliver([KIND.committed, 7, 'y', KIND.replayed])
  assert.deepEqual(seen, [['old', 'x', 'y']])
  assert.equal(node.getProvisionalState(), node.getState())
  await new Promise(setImmediate)
  assert.equal(isReady, false)
  deliver([KIND.caughtUp, 1])
  await ready
})

test('a node is ready while it has a leader and has caught up, and only then', async t => {
  const { node, deliver } = scripted(t)
  const isReady = () =>
    node.ready({ timeout: 0 }).then(
      () => true,
      () => false
    )
  assert.equal(await isReady(), false)
  deliver([KIND.role, 'follower', 2, 'b'])
  assert.equal(await isReady(), false)
  deliver([KIND.caughtUp, 1])
  assert.equal(await isReady(), true)
  deliver([KIND.caughtUp, 0])
  assert.equal(await isReady(), false)
  deliver([KIND.caughtUp, 1])
  assert.equal(await isReady(), true)
  deliver([KIND.role, 'follower', 2, null])
  assert.equal(await isReady(), false)
})

test('without storage the state can be read at once', t => {
  const { node } = scripted(t)
  assert.deepEqual(node.getState(), [])
})

test('a call whose action came by a snapshot resolves with it', async t => {
  const { node, deliver } = scripted(t)
  const performing = node.perform('append', ['x'])
  await new Promise(setImmediate)
  deliver([KIND.restore, 9, 0, KIND.settledDone, 1, { a: 1 }], ['["x"]'])
  assert.deepEqual(await performing, { a: 1 })
})

test('a leader says that its turn is over behind what those who awaited an action perform, a follower does not', async t => {
  for (const role of ['leader', 'follower']) {
    const { node, deliver, said } = scripted(t)
    deliver([KIND.role, role, 2, 'a'])
    const performing = (async () => {
      await node.perform('append', ['x'])
      await null
      node.perform('append', ['y']).catch(() => {})
    })()
    await new Promise(setImmediate)
    said.length = 0
    const answered = deliver([KIND.committedOwn, 3, 1, 'x', 0])
    assert.deepEqual(answered, [['answered', '[]']])
    await performing
    await new Promise(setImmediate)
    const performed = ['perform', 2, '["append",["y"]]', true, undefined]
    assert.deepEqual(said, role === 'leader' ? [performed, ['turnOver']] : [performed])
  }
})

test('what is asked reaches the core after what was performed, and its answer comes back', async t => {
  const { node, deliver, said } = scripted(t)
  node.perform('append', ['x']).catch(() => {})
  const asking = [
    node.sync(),
    node.transferLeadership(),
    node.transferLeadership({ timeout: 5 }),
    node.transferLeadership('b', { timeout: 0.5 }),
    node.transferLeadership(null, {}),
    node.remove('b'),
    node.resize(5),
    node.recover({ iUnderstandThatActionsMayBeLost: true, timeout: 7 })
  ]
  assert.deepEqual(said, [
    ['perform', 1, '["append",["x"]]', false, undefined],
    ['beginOperation', '[1,10000,"sync"]'],
    ['beginOperation', '[2,10000,{"transferLeadership":{"to":null}}]'],
    ['beginOperation', '[3,5,{"transferLeadership":{"to":null}}]'],
    ['beginOperation', '[4,1,{"transferLeadership":{"to":"b"}}]'],
    ['beginOperation', '[5,10000,{"transferLeadership":{"to":null}}]'],
    ['beginOperation', '[6,10000,{"remove":{"id":"b"}}]'],
    ['beginOperation', '[7,10000,{"resize":{"clusterSize":5}}]'],
    ['beginOperation', '[8,7,"recover"]']
  ])
  deliver([
    KIND.operationDone,
    2,
    KIND.operationFailed,
    1,
    'ERR_CONFLUX_NO_QUORUM',
    'no quorum',
    KIND.operationDone,
    99
  ])
  assert.equal(await asking[1], undefined)
  const error = await rejection(asking[0])
  assert.equal(String(error), 'Error: no quorum')
  assert.deepEqual({ ...error }, { code: 'ERR_CONFLUX_NO_QUORUM', waitingFor: null })

  // What is not answered ends with the node, and its outcome is unknown.
  deliver([KIND.stopped, 'ERR_CONFLUX_STORAGE', 'disk full'])
  for (const unanswered of asking.slice(2)) {
    const error = await rejection(unanswered)
    assert.deepEqual([error.code, error.outcome], ['ERR_CONFLUX_STORAGE', 'unknown'])
  }
  assert.equal((await rejection(node.sync())).outcome, 'not-applied')
})

test('no more is asked at once than maxPending allows', async t => {
  const { node, deliver } = scripted(t, { maxPending: 1 })
  const first = node.sync()
  assert.deepEqual((await rejection(node.sync())).code, 'ERR_CONFLUX_BUSY')
  deliver([KIND.operationDone, 1])
  await first
})

test('a quorum that is lost shows who is missing, until the node has ended', t => {
  const { node, status, deliver } = scripted(t)
  assert.deepEqual(node.status().quorum, { lost: false, missing: [] })
  status.missing = [{ id: 'b', silentMs: 1200 }]
  assert.deepEqual(node.status().quorum, { lost: true, missing: [{ id: 'b', silentMs: 1200 }] })
  deliver([KIND.stopped, 'ERR_CONFLUX_PANIC', 'x'])
  assert.deepEqual(node.status().quorum, { lost: false, missing: [] })
})

test('close passes its timeout to the core, and whether the membership is given up', t => {
  for (const [given, args, expected] of [
    [{}, [], [2000, true]],
    [{ storage: { path: 'x' } }, [], [2000, false]],
    [{ storage: { path: 'x' } }, [{ leave: true }], [2000, true]],
    [{}, [{ timeout: 0, leave: false }, () => {}], [0, false]],
    [{}, [() => {}], [2000, true]],
    [{}, [null, () => {}], [2000, true]]
  ]) {
    const { node, said } = scripted(t, given)
    node.close(...args)
    assert.deepEqual(said, [['close', ...expected]])
    node.close({ timeout: 1 })
    assert.equal(said.length, 1)
  }
})

test('evaluations stop after 50 ms, and what is answered says how long they took', t => {
  const slow = {
    methods: {
      append(thing) {
        spin(20)
        return thing
      }
    }
  }
  const { node, deliver, micros } = scripted(t, slow)
  deliver([KIND.role, 'leader', 2, 'a'])
  const evaluations = Array.from({ length: 50 }, (_, i) => [KIND.evaluate, 'append', [i]]).flat()
  const [[verb, text]] = deliver(evaluations)
  assert.equal(verb, 'answered')
  // On a machine that is busy there are fewer, but never none, for nothing would come of it.
  const answers = JSON.parse(text)
  const things = answers.filter((_, i) => i % 2 === 1)
  assert.ok(things.length >= 1 && things.length <= 3, text)
  assert.deepEqual(node.getProvisionalState(), things)
  assert.ok(Number.isInteger(micros.at(-1)) && micros.at(-1) >= 20_000 * things.length, String(micros))
})

test('evaluations stop after 1 MiB of answers, be they actions or errors', t => {
  const large = {
    methods: {
      action: () => 'x'.repeat(200_000),
      error: () => Object.assign(new Error('no'), { data: 'x'.repeat(60_000) })
    }
  }
  for (const [method, size] of [
    ['action', 200_000],
    ['error', 60_000]
  ]) {
    const { deliver, micros } = scripted(t, large)
    deliver([KIND.role, 'leader', 2, 'a'])
    const [[, text]] = deliver(Array.from({ length: 1000 }, () => [KIND.evaluate, method, []]).flat())
    assert.ok(text.length < 1024 * 1024 + size + 1000, `${text.length} characters`)
    assert.ok(JSON.parse(text).length >= 2)
    // Spread over slices, it is the time of the evaluations that counts.
    assert.ok(micros.at(-1) > 0)
  }
})

test('the rest of a batch is read after evaluations stopped', async t => {
  const { node, deliver, raw, said, micros } = scripted(t, {
    methods: { large: () => 'x'.repeat(1_000_000) }
  })
  deliver([KIND.role, 'leader', 2, 'a'])
  const large = [KIND.evaluate, 'large', []]
  raw(JSON.stringify([...large, ...large, ...large, KIND.committed, 9, 'y', KIND.hash, 9]))
  await until('the end of the batch', () => micros.length === 2)
  const [hashed, answered] = said.slice(-2)
  assert.deepEqual([hashed[0], answered[0]], ['hashed', 'answered'])
  assert.ok(JSON.parse(answered[1]).length <= 4)
  assert.deepEqual(node.getState(), ['y'])
})

test('between slices of committed actions the event loop turns, and the core hears how far it has come', async t => {
  const slow = {
    reduce(state, action) {
      if (action !== null) spin(20)
      return list.reduce(state, action)
    }
  }
  const { node, deliver, raw, said, micros } = scripted(t, slow)
  const order = []
  const turn = () => order.length < 1000 && (order.push('turn'), setImmediate(turn))
  node.subscribe(() => order.push(node.getState().length))
  setImmediate(turn)
  const actions = Array.from({ length: 12 }, (_, i) => [KIND.committed, 101 + i, i])
  said.push(...deliver(actions.flat()))
  // The second batch waits behind the first. What was said meanwhile is kept.
  raw(JSON.stringify([KIND.committed, 113, 12, KIND.hash, 113]))
  await until('the end of both batches', () => micros.length === 2)

  assert.deepEqual(node.getState(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
  const slices = order
    .join()
    .split('turn')
    .map(slice => slice.split(',').filter(Boolean).length)
  assert.ok(Math.max(...slices) <= 4, `actions between two turns: ${slices}`)
  const progress = said.filter(([verb]) => verb === 'progressed').map(([, index]) => index)
  assert.ok(progress.length >= 3, String(progress))
  assert.deepEqual(
    progress,
    progress.toSorted((a, b) => a - b)
  )
  assert.ok(progress.every(index => index > 100 && index <= 113))
  const hashed = said.find(([verb]) => verb === 'hashed')
  assert.equal(hashed[2], hashOf(node.getState()))
})

test('subscribers that compute for long let the event loop turn, too', async t => {
  const { node, deliver, micros } = scripted(t)
  let turns = 0
  let isOver = false
  t.after(() => (isOver = true))
  const turn = () => (turns++, !isOver && setImmediate(turn))
  const at = []
  node.subscribe(() => {
    at.push(turns)
    spin(30)
  })
  setImmediate(turn)
  const evaluate = [KIND.evaluate, 'append', ['x']]
  deliver([KIND.role, 'leader', 2, 'a', ...evaluate, ...evaluate, ...evaluate, ...evaluate])
  deliver([2, 3, 4, 5].flatMap(index => [KIND.committedProvisional, index]))
  await until('the end of both batches', () => micros.length === 2)
  assert.equal(at.length, 4)
  assert.ok(new Set(at).size >= 2, `turns of the event loop before each call: ${at}`)
})

test('callers that continue after a call let the event loop turn, too, and the next delivery waits', async t => {
  const { node, deliver } = scripted(t)
  let turns = 0
  let isOver = false
  t.after(() => (isOver = true))
  const turn = () => (turns++, !isOver && setImmediate(turn))
  setImmediate(turn)
  const at = []
  const calls = Array.from({ length: 640 }, async (_, i) => {
    await node.perform('append', [i])
    at.push(turns)
    spin(1)
  })
  await new Promise(setImmediate)
  deliver(Array.from({ length: 640 }, (_, i) => [KIND.committedOwn, 9 + i, 1 + i, i, 0]).flat())
  await Promise.all(calls)
  assert.equal(node.getState().length, 640)
  const together = at.map(turn => at.filter(other => other === turn).length)
  assert.ok(Math.max(...together) <= 128, `calls that went on in one turn: ${Math.max(...together)}`)
})

test('progress is reported when the core wants it before an evaluation', t => {
  const { deliver } = scripted(t)
  const said = deliver([KIND.role, 'leader', 2, 'a', KIND.reportProgress, KIND.evaluate, 'append', ['x']])
  assert.deepEqual(said, [['progressed', 0], ['answered', '[1,"x"]']]) // prettier-ignore
})

test('what no delivery may be ends the node, and every call', async t => {
  for (const text of [null, '{', '[99]', '[3]']) {
    const { node, said, raw } = scripted(t)
    const errors = []
    node.on('error', error => errors.push(error.code))
    const pending = [node.perform('append', ['x']), node.sync(), node.ready()].map(rejection)
    await new Promise(setImmediate)
    raw(text)
    const ended = await Promise.all(pending)
    assert.deepEqual(
      ended.map(({ code, outcome }) => [code, outcome]),
      [
        ['ERR_CONFLUX_INTERNAL', 'unknown'],
        ['ERR_CONFLUX_INTERNAL', 'unknown'],
        ['ERR_CONFLUX_INTERNAL', 'not-applied']
      ]
    )
    assert.deepEqual(errors, ['ERR_CONFLUX_INTERNAL'])
    assert.equal(node.status().state, 'failed')
    assert.equal(said.filter(([verb]) => verb === 'kill').length, 1)
  }
})
