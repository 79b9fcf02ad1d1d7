/**
 * Shows what becomes of a node whose id another node of the same process has: as where a development server
 * evaluates a module again.
 */
'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const test = require('node:test')

const conflux = require('..')
const { LateNative } = require('../lib/late-native')
const { cluster } = require('../testing')
const { list, rejection, until } = require('./nodes')

let count = 0

/** What is called only once the core is opened: after a delivery, or after a notice of a custom channel. */
const AFTER_DELIVERIES = [
  'answered',
  'channelHealth',
  'channelLeft',
  'channelReceived',
  'channelTake',
  'hashed',
  'progressed',
  'reducerFailed',
  'snapshotFailed',
  'snapshotPiece',
  'snapshotTaken',
  'statePiece'
]

test('what stands for the core has every function of it that may be called before a delivery', () => {
  const lib = path.join(__dirname, '..', 'lib')
  const text = fs
    .readdirSync(lib)
    .filter(name => name.endsWith('.js'))
    .map(name => fs.readFileSync(path.join(lib, name), 'utf8'))
    .join('')
  const called = new Set([...text.matchAll(/\bthis\.#?native(?:\(\))?\.(\w+)\(/g)].map(([, name]) => name))
  assert.ok(called.size > AFTER_DELIVERIES.length)
  const missing = [...called].filter(name => typeof LateNative.prototype[name] !== 'function')
  assert.deepEqual(missing.sort(), AFTER_DELIVERIES)
})

/** Opens nodes that are namesakes of each other. */
function makeOpen(t, more) {
  const channel = { name: 'memory', channelName: `namesakes ${count++}` }
  const nodes = []
  t.after(() => Promise.all(nodes.map(node => node.close())))
  return own => {
    nodes.push(conflux({ ...list, id: 'a', clusterSize: 1, channel, ...more, ...own }))
    return nodes.at(-1)
  }
}

test('a namesake that is closing is waited for, and then the node serves', async t => {
  const open = makeOpen(t)
  const first = open()
  await first.perform('append', ['of the first'])
  const closing = first.close()
  const second = open()
  const { state, waitingFor, caughtUp, role, members } = second.status()
  assert.deepEqual([state, caughtUp, role, members], ['open', false, 'follower', []])
  assert.match(waitingFor, /the former node of this id, in this process, to close/)
  assert.deepEqual(Object.keys(second.status()), Object.keys(first.status()))
  assert.deepEqual(second.getState(), [])

  const order = []
  const calls = [1, 2, 3].map(n => second.perform('append', [n]).then(n => order.push(n)))
  const ready = second.ready()
  await Promise.all([...calls, ready, second.sync(), closing])
  assert.deepEqual(order, [1, 2, 3])
  assert.deepEqual(second.getState(), [1, 2, 3])
  assert.equal(second.status().role, 'leader')
})

test('opened and closed again and again, in one turn or in many, the last one serves', async t => {
  const open = makeOpen(t)
  for (let i = 0; i < 5; i++) open().close()
  for (let i = 0; i < 5; i++) {
    const node = open()
    await node.perform('append', [i])
    node.close()
  }
  const last = open()
  await last.perform('append', ['last'])
  assert.deepEqual(last.getState(), ['last'])
})

test('a member of a cluster comes back under its id at once', async t => {
  const channel = { name: 'memory', channelName: `of the cluster ${count++}` }
  const open = id => conflux({ ...list, id, clusterSize: 3, channel })
  const own = ['a', 'b', 'c'].map(open)
  t.after(() => Promise.all(own.map(node => node.close())))
  await own[0].perform('append', ['y'])
  await own[1].ready()
  own[1].close()
  const again = open('b')
  t.after(() => again.close())
  await again.ready()
  assert.deepEqual(again.getState(), ['y'])
})

test('a directory that the former node still has open is waited for', async t => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'conflux-namesakes-'))
  const open = makeOpen(t, { storage: { path: folder } })
  t.after(() => fs.rmSync(folder, { recursive: true, force: true, maxRetries: 5 }))
  const first = open()
  await first.perform('append', ['kept'])
  first.close()
  const second = open()
  assert.throws(() => second.getState(), { code: 'ERR_CONFLUX_NOT_READY' })
  await second.perform('append', ['more'])
  assert.deepEqual(second.getState(), ['kept', 'more'])
  await second.close()
})

/** Its close takes as long as it may: another voter is there, and does not answer. */
async function openSlow(t) {
  const c = await cluster(2, list)
  t.after(() => c.close())
  const [slow, other] = c.nodes
  c.crash(other)
  const { id } = slow.status()
  const open = () =>
    conflux({ ...list, id, clusterSize: 2, channel: { name: 'memory', channelName: c.channelName } })
  return { slow, open }
}

test('while it waits, calls end as accurately as ever, and a close ends it at once', async t => {
  const { slow, open } = await openSlow(t)
  const closing = slow.close({ timeout: 5000 })
  const node = open()
  const timedOut = await rejection(node.perform('append', [1], 20))
  assert.deepEqual([timedOut.code, timedOut.outcome], ['ERR_CONFLUX_TIMEOUT', 'not-applied'])
  assert.match(timedOut.message, /waiting for the former node/)
  const controller = new AbortController()
  const aborted = rejection(node.perform('append', [2], { signal: controller.signal }))
  await new Promise(setImmediate)
  controller.abort()
  assert.deepEqual([(await aborted).code, (await aborted).outcome], ['ABORT_ERR', 'not-applied'])
  assert.match((await rejection(node.ready({ timeout: 20 }))).message, /waiting for the former node/)

  const pending = rejection(node.perform('append', [3]))
  await new Promise(setImmediate)
  assert.equal(slow.status().state, 'closing')
  await node.close()
  assert.deepEqual([(await pending).code, (await pending).outcome], ['ERR_CONFLUX_CLOSED', 'not-applied'])
  assert.equal(node.status().state, 'closed')
  // Another one waits for both.
  const last = open()
  t.after(() => last.close())
  assert.match(last.status().waitingFor, /the former node/)
  await closing
  await until('the last to be opened', () => last.status().incarnation !== '')
})

test('a namesake that stays open is named, with the place where it was opened', async t => {
  const open = makeOpen(t)
  const first = open()
  await first.ready()
  const second = open()
  const pending = rejection(second.perform('append', ['x']))
  let stateThen
  const seen = second.perform('append', ['y']).catch(() => (stateThen = second.status().state))
  const failure = await new Promise(resolve => second.on('error', resolve))
  assert.equal(failure.code, 'ERR_CONFLUX_DUPLICATE_ID')
  assert.match(failure.message, /The other node is in this process \(opened at .*namesakes\.test\.js:\d+:\d+/)
  assert.match(failure.message, /`globalThis`; docs\/guide\.md/)
  const { code, message } = await pending
  assert.equal(code, 'ERR_CONFLUX_DUPLICATE_ID')
  assert.match(message, /^this node failed: .*`a`/)
  await seen
  assert.equal(stateThen, 'failed')
})

test('nodes of another id, channel or channelName are no namesakes', async t => {
  const open = makeOpen(t)
  const first = open()
  await first.ready()
  first.close()
  for (const own of [{ id: 'b' }, { channel: { name: 'memory', channelName: `another ${count++}` } }]) {
    const { waitingFor } = open(own).status()
    assert.doesNotMatch(waitingFor ?? '', /former node/)
  }
})

test('a call that ends with the failure of its node finds the node failed, however many wait', async t => {
  const open = makeOpen(t)
  await open().ready()
  for (let round = 0; round < 10; round++) {
    const node = open()
    node.on('error', () => {})
    const seen = []
    const look = error => seen.push([node.status().state, error.message.slice(0, 18)])
    const calls = [1, 2, 3].map(n => node.perform('append', [n]).catch(look))
    calls.push(node.sync().catch(look), node.ready().catch(look))
    calls.push(new Promise(resolve => node.perform('append', [4], error => resolve(look(error)))))
    await Promise.all(calls)
    assert.equal(seen.length, 6)
    for (const [state, prefix] of seen) assert.deepEqual([state, prefix], ['failed', 'this node failed: '])
  }
})
