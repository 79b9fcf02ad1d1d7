/**
 * Shows that every call ends, and ends as it says: thousands of them while leadership is handed on and nodes
 * are closed. What "did not happen" is in no state, what is acknowledged is in all, once.
 *
 * CONFLUX_PROMISES sets how many (default 5000).
 */
'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const test = require('node:test')
const { setTimeout: delay } = require('node:timers/promises')

const { elected, list, makeFolder, openCluster, openNode, openOne, rejection, until } = require('./nodes')

const PROMISES = Number(process.env.CONFLUX_PROMISES ?? 5000)
const PER_CLUSTER = 5000

test(`${PROMISES} calls while leaders change and nodes close: none hangs, none has a wrong outcome`, async t => {
  const ends = {}
  for (let first = 0; first < PROMISES; first += PER_CLUSTER) {
    const nodes = openCluster(t, 3, { ...list, maxPending: 1000 })
    await elected(nodes)
    const outcomes = new Map()
    let ended = 0
    const performing = (async () => {
      for (let i = 0; i < PER_CLUSTER; i++) {
        const thing = first + i
        // Some with a timeout that is hard to keep.
        const timeout = i % 5 === 0 ? i % 20 : null
        nodes[i % 3].perform('append', [thing], timeout).then(
          () => outcomes.set(thing, 'done') && ended++,
          ({ outcome, code }) => {
            outcomes.set(thing, outcome)
            ends[code] = (ends[code] ?? 0) + 1
            ended++
          }
        )
        if (i % 50 === 0) await delay(1)
        if (i % 500 === 0) nodes[(i / 500) % 3].transferLeadership().catch(() => {})
        if (i === PER_CLUSTER * 0.8) nodes[0].close()
      }
    })()
    await performing
    await until('every call to end', () => ended === PER_CLUSTER)

    const left = nodes.slice(1)
    await Promise.all(left.map(node => node.sync()))
    for (const node of left) {
      const state = node.getState()
      const applied = new Set(state)
      assert.equal(applied.size, state.length, 'something was done twice')
      for (const [thing, outcome] of outcomes) {
        if (outcome === 'done') assert.ok(applied.has(thing), `${thing} was acknowledged and is lost`)
        else if (outcome !== 'unknown')
          assert.ok(!applied.has(thing), `${thing}: ${outcome}, and it happened`)
      }
    }
    await Promise.all(nodes.map(node => node.close()))
  }
  t.diagnostic(`${PROMISES} ended; rejected: ${JSON.stringify(ends)}`)
  assert.ok(ends.ERR_CONFLUX_CLOSED > 0 || ends.ERR_CONFLUX_TIMEOUT > 0, 'nothing came between')
})

/** Nothing reaches JavaScript meanwhile. */
function block(milliseconds) {
  const end = Date.now() + milliseconds
  while (Date.now() < end);
}

test('a call that the core did not hear of any more was not applied: the id or the directory is in use', async t => {
  const folder = makeFolder(t)
  const channel = { name: 'memory', channelName: 'a call that the core did not hear of' }
  const options = { id: 'a', clusterSize: 1, channel, storage: { path: folder }, ...list }
  const first = openNode(t, options)
  await first.ready()
  for (const [code, other] of [
    ['ERR_CONFLUX_DUPLICATE_ID', { storage: undefined }],
    ['ERR_CONFLUX_STORAGE_IN_USE', { channel: { ...channel, channelName: 'elsewhere' } }]
  ]) {
    const second = openNode(t, { ...options, ...other })
    second.on('error', () => {})
    const early = rejection(second.perform('append', ['early']))
    // The core has stopped by the end of it.
    await Promise.resolve()
    block(300)
    assert.equal(second.status().state, 'open')
    const late = rejection(second.perform('append', ['late']))
    for (const error of [await early, await late]) {
      assert.deepEqual([error.code, error.outcome], [code, 'not-applied'])
      assert.equal(second.status().state, 'failed')
    }
  }
  assert.deepEqual(first.getState(), [])
})

test('a call that was sent stays unknown when its node fails', async t => {
  const folder = makeFolder(t)
  const node = openOne(t, { storage: { path: folder } })
  node.on('error', () => {})
  await node.perform('append', ['stored'])
  fs.rmSync(folder, { recursive: true })
  let error
  await until('a write fails', async () => {
    error = await node.perform('append', ['x']).then(
      () => undefined,
      error => error
    )
    return error !== undefined
  })
  assert.deepEqual([error.code, error.outcome], ['ERR_CONFLUX_STORAGE', 'unknown'])
})
