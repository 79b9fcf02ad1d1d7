/**
 * Shows that an application which takes its time costs time, and nothing else: methods, reducers, subscribers and
 * callers of 0.01 to 100 ms, with 1 to 5,000 calls in flight and states of 10 B to 1 MB, from the leader and from followers.
 * Every call ends, the leader stays, and the event loop turns.
 *
 * CONFLUX_COST_MIXES sets how many mixes there are (default 3), CONFLUX_COST_SECONDS for how long the application computes
 * in each (default 0.5), CONFLUX_SEED which they are.
 */
'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')

const { Random } = require('../nemesis/random')
const { startRedisServer } = require('../scripts/redis-server')
const { Burst } = require('./burst')
const { makeFolder, openNode } = require('./nodes')

const MIXES = Number(process.env.CONFLUX_COST_MIXES ?? 3)
const SECONDS = Number(process.env.CONFLUX_COST_SECONDS ?? 0.5)
const SEED = Number(process.env.CONFLUX_SEED ?? Math.floor(Math.random() * 1e6))

const SLICE_MS = 50
/** A machine on which this process did not run for so long may keep another from its heartbeats: the mix is repeated. */
const STALLED_MS = 100
const REPEATS_MAX = 5
/** What copying a byte of the state may cost. */
const COPY_MS = 1e-6
/** What collecting the garbage of a large state may add to a turn of the event loop. */
const GARBAGE_MS = 100

const between = (random, min, max) => min * (max / min) ** random.next()

test(`${MIXES} mixes of costs (CONFLUX_SEED=${SEED}): every call ends, and there is no other election`, async t => {
  const redis = await startRedisServer()
  t.after(() => redis.kill())
  const random = new Random(SEED)
  for (let mix = 1; mix <= MIXES; mix++) {
    const who = random.pick(['method', 'reducer', 'subscriber', 'caller'])
    const cost = between(random, 0.01, 100)
    const state = Math.round(between(random, 10, 1e6))
    const isFromLeader = random.chance(0.5)
    const calls = Math.max(1, Math.min(5000, Math.round((SECONDS * 1000) / (cost + state * COPY_MS))))
    const inFlight = Math.min(calls, Math.round(between(random, 1, 5000)))
    const text =
      `${who} ${cost.toFixed(2)} ms, ${calls} calls, ${inFlight} in flight, ` +
      `state ${state} B, ${isFromLeader ? 'leader' : 'follower'}`
    const application = {
      state,
      reducerMs: who === 'reducer' ? cost : 0,
      subscriberMs: who === 'subscriber' ? cost : 0
    }
    const cluster = await Burst.start(t, { redisUrl: redis.url, application })
    const longestMax = 2 * (SLICE_MS + cost) + GARBAGE_MS
    const given = {
      calls,
      inFlight,
      method: 'act',
      args: [who === 'method' ? cost : 0, 10],
      then: who === 'caller' ? cost : 0
    }
    for (let attempt = 1; ; attempt++) {
      const { leader, followers } = await cluster.roles()
      const caller = isFromLeader ? leader : followers[0]
      const { result, elections, warnings, watched, stalled } = await cluster.watch(() =>
        caller.ask('burst', given)
      )
      const longest = Math.max(...watched.map(({ longest }) => longest))
      const alone = await caller.ask('alone', given)
      t.diagnostic(
        `${text}: ${Math.round(result.ms)} ms, ${(alone / result.ms).toFixed(2)} of the application alone; ` +
          `longest without a turn ${Math.round(longest)} ms; ${elections} elections`
      )
      assert.deepEqual(result.ends, { done: calls }, text)
      const isCalm = elections === 0 && longest < longestMax
      // Only what this machine may have done to it is tried again.
      if (!isCalm && stalled > STALLED_MS && attempt < REPEATS_MAX) continue
      assert.equal(elections, 0, `${text}: ${elections} elections; this process stalled ${stalled} ms`)
      assert.deepEqual(warnings, [], text)
      assert.ok(
        longest < longestMax,
        `${text}: the event loop stood still for ${longest} ms; this process for ${stalled} ms`
      )
      break
    }
    await cluster.close()
  }
})

test('a node alone is about as fast as its reducer', async t => {
  for (const [cost, calls] of [
    [0.05, 4000],
    [1, 300]
  ]) {
    const cluster = await Burst.start(t, { size: 1, application: { reducerMs: cost } })
    const [node] = cluster.members
    const given = { calls, inFlight: 1000, method: 'act', args: [0, 10] }
    const ratios = []
    for (let i = 0; i < 3; i++) {
      const { ms } = await node.ask('burst', given)
      ratios.push((await node.ask('alone', given)) / ms)
    }
    const best = Math.max(...ratios)
    t.diagnostic(`reducer of ${cost} ms, 1,000 in flight: ${best.toFixed(2)} of what it allows alone`)
    // 0.8 is what it is to be; what else runs on this machine may take its share in one of the two and not in the other.
    assert.ok(best > 0.3, `${ratios}`)
    await cluster.close()
  }
})

test('a cluster of three is about as fast as its reducer', async t => {
  const redis = await startRedisServer()
  t.after(() => redis.kill())
  for (const cost of [1, 10]) {
    const application = { reducerMs: cost, isIdle: true }
    const cluster = await Burst.start(t, { redisUrl: redis.url, application })
    const { leader, followers } = await cluster.roles()
    const given = { calls: 1000 / cost, inFlight: 1000, method: 'act', args: [0, 10] }
    for (const [role, caller] of Object.entries({ leader, follower: followers[0] })) {
      const { ms } = await caller.ask('burst', given)
      const ratio = (await caller.ask('alone', given)) / ms
      t.diagnostic(`reducer of ${cost} ms, from the ${role}: ${ratio.toFixed(2)} of what it allows alone`)
      // 0.8 is what it is to be; this machine may be busy with something else.
      assert.ok(ratio > 0.3, `${role}: ${ratio}`)
    }
    await cluster.close()
  }
})

test('one call that takes longer than an election timeout ends, with the second leader at the latest', async t => {
  const redis = await startRedisServer()
  t.after(() => redis.kill())
  const cluster = await Burst.start(t, { redisUrl: redis.url })
  for (const role of ['leader', 'follower']) {
    const roles = await cluster.roles()
    const caller = role === 'leader' ? roles.leader : roles.followers[0]
    const { result, elections, watched } = await cluster.watch(() =>
      caller.ask('burst', { calls: 1, inFlight: 1, method: 'act', args: [1500, 10] })
    )
    const runs = watched.reduce((sum, { runs }) => sum + runs, 0)
    t.diagnostic(
      `from the ${role}: ${Math.round(result.ms)} ms, ${runs} runs, ${elections} changes of leader`
    )
    assert.deepEqual(result.ends, { done: 1 })
    assert.ok(runs <= 2, `the method ran ${runs} times`)
    assert.ok(elections <= 1, `${elections} elections`)
  }
  // And the cluster serves on.
  const { ends } = await cluster.members[0].ask('burst', {
    calls: 100,
    inFlight: 10,
    method: 'act',
    args: [0, 10]
  })
  assert.deepEqual(ends, { done: 100 })
  await cluster.close()
})

test('a burst whose reducer copies a large state ends in one term, and in bounded memory', async t => {
  const redis = await startRedisServer()
  t.after(() => redis.kill())
  // 100,000 items in each state, of 8 bytes: all states at once would be twice what the heap may hold.
  const calls = MIXES < 60 ? 500 : 2000
  const heapMax = (calls * 800_000) / 2 / 2 ** 20
  const cluster = await Burst.start(t, { redisUrl: redis.url, heapMax, application: { state: 1e6 } })
  const { leader } = await cluster.roles()
  const { result, elections, watched } = await cluster.watch(() =>
    leader.ask('burst', { calls, inFlight: calls, method: 'act', args: [0, 10] })
  )
  assert.deepEqual(result.ends, { done: calls })
  const mebibytes = watched.map(({ rss }) => Math.round(rss / 2 ** 20))
  t.diagnostic(`${Math.round(result.ms)} ms, ${elections} elections, at most ${mebibytes} MiB of memory`)
  await cluster.close()
})

test('a replay lets the event loop turn', async t => {
  const folder = makeFolder(t)
  let cost = 0
  let turns = 0
  /** How many were reduced in each turn of the event loop. */
  const actions = []
  const open = () =>
    openNode(t, {
      id: 'a',
      clusterSize: 1,
      channel: { name: 'memory', channelName: folder },
      storage: { path: folder },
      methods: { add: n => n },
      reduce(sum = 0, n) {
        if (n !== null && cost > 0) {
          for (const end = performance.now() + cost; performance.now() < end;);
          actions[turns] = (actions[turns] ?? 0) + 1
        }
        return sum + (n ?? 0)
      }
    })
  const before = open()
  await before.ready()
  await Promise.all(Array.from({ length: 3000 }, () => before.perform('add', [1])))
  await before.close()

  cost = 0.25
  let isOver = false
  t.after(() => (isOver = true))
  const turn = () => (turns++, !isOver && setImmediate(turn))
  setImmediate(turn)
  const after = open()
  await after.ready()
  assert.equal(after.getState(), 3000)
  const most = Math.max(...actions.filter(Boolean))
  t.diagnostic(`at most ${most} actions of ${cost} ms in one turn of the event loop`)
  // 50 ms, and what the machine may be late by. The more it is busy, the fewer they are.
  assert.ok(most <= (2 * SLICE_MS) / cost, `${most} actions in one turn of the event loop`)
  await after.close()
})
