/**
 * Shows that every size that a call may have is one that the cluster carries: arguments, actions and errors from
 * 1 B to their limits, with 1 to 5,000 calls in flight, from any node, over memory and Redis. No node fails, no channel
 * breaks, there is no election, memory is bounded, and calls from elsewhere are served meanwhile.
 *
 * CONFLUX_SIZE_MIXES sets how many mixes there are (default 4), CONFLUX_SIZE_BYTES how many bytes are in flight at most in
 * each (default 32 MiB), CONFLUX_SEED which they are.
 */
'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')

const { Random } = require('../nemesis/random')
const { startRedisServer } = require('../scripts/redis-server')
const { Burst } = require('./burst')
const { elected, openCluster, rejection } = require('./nodes')

const MIXES = Number(process.env.CONFLUX_SIZE_MIXES ?? 4)
const BYTES_MAX = Number(process.env.CONFLUX_SIZE_BYTES ?? 32 * 2 ** 20)
const SEED = Number(process.env.CONFLUX_SEED ?? Math.floor(Math.random() * 1e6))

const MIB = 2 ** 20
/** What is around the text itself: brackets, quotes, names. */
const AROUND = 64
const ARGUMENT_BYTES_MAX = MIB - AROUND
const ACTION_BYTES_MAX = MIB - AROUND
const ERROR_BYTES_MAX = 64 * 1024 - AROUND

/** A process takes so much anyway: its heap grows and shrinks by as much. */
const MEMORY_BASE = 256 * MIB
const MEMORY_FACTOR = 4
/** 2 s is what others wait at most; a machine that is busy with something else takes longer. */
const WAIT_MS_MAX = 20_000
const STALLED_MS = 100
const REPEATS_MAX = 5

const between = (random, min, max) => Math.round(min * (max / min) ** random.next())

test(`${MIXES} mixes of sizes over Redis (CONFLUX_SEED=${SEED}): nothing breaks, and all are served`, async t => {
  const redis = await startRedisServer()
  t.after(() => redis.kill())
  const random = new Random(SEED)
  let cluster
  let longestWait = 0
  for (let mix = 1; mix <= MIXES; mix++) {
    // What one mix left in the heap is not the next one's; a cluster for every mix would take its time.
    if (mix % 4 === 1) {
      await cluster?.close()
      cluster = await Burst.start(t, { redisUrl: redis.url })
    }
    const kinds = random.shuffle(['argument', 'action', 'error']).slice(0, 1 + Math.floor(random.next() * 2))
    const bursts = kinds.map(kind => burstOf(random, kind, BYTES_MAX / kinds.length))
    const bytes = bursts.reduce((sum, { size, inFlight }) => sum + size * inFlight, 0)
    const from = bursts.map(() => random.next())
    const text = bursts
      .map(({ kind, size, calls, inFlight }) => `${calls} ${kind}s of ${size} B, ${inFlight} in flight`)
      .join(' and ')
    for (let attempt = 1; ; attempt++) {
      const callers = from.map(part => cluster.members[Math.floor(part * cluster.members.length)])
      const others = cluster.members.filter(member => !callers.includes(member))
      const { result, elections, warnings, watched, stalled } = await cluster.watch(async () => {
        await Promise.all(others.map(other => other.ask('probe')))
        const results = await Promise.all(bursts.map((burst, i) => callers[i].ask('burst', burst)))
        const waits = await Promise.all(others.map(other => other.ask('stopProbing')))
        return { results, waits: waits.flat() }
      })
      const wait = Math.max(0, ...result.waits)
      const grown = Math.max(...watched.map(({ grown }) => grown))
      t.diagnostic(
        `${text}: ${Math.round(Math.max(...result.results.map(({ ms }) => ms)))} ms, ${elections} elections, ` +
          `others waited ${Math.round(wait)} ms at most (${result.waits.length} calls), ` +
          `memory +${Math.round(grown / MIB)} MiB at ${Math.round(bytes / MIB)} MiB in flight`
      )
      bursts.forEach(({ end, calls }, i) => assert.deepEqual(result.results[i].ends, { [end]: calls }, text))
      assert.deepEqual(warnings, [], text)
      // Only what this machine may have done to it is tried again.
      if (elections > 0 && stalled > STALLED_MS && attempt < REPEATS_MAX) continue
      assert.equal(elections, 0, `${text}: this process stalled ${stalled} ms`)
      assert.ok(wait < WAIT_MS_MAX, `${text}: others waited ${wait} ms`)
      assert.ok(grown < MEMORY_FACTOR * bytes + MEMORY_BASE, `${text}: memory grew by ${grown} bytes`)
      longestWait = Math.max(longestWait, wait)
      break
    }
  }
  await cluster.close()
  t.diagnostic(`calls from elsewhere waited ${Math.round(longestWait)} ms at most`)
})

/** A burst of calls of one size. */
function burstOf(random, kind, bytesMax) {
  const max = { argument: ARGUMENT_BYTES_MAX, action: ACTION_BYTES_MAX, error: ERROR_BYTES_MAX }[kind]
  const size = random.chance(0.15) ? max : between(random, 1, max)
  const callsMax = Math.max(1, Math.min(5000, Math.floor(bytesMax / size)))
  const calls = random.chance(0.5) ? callsMax : Math.min(callsMax, between(random, 1, 5000))
  const inFlight = random.chance(0.5) ? calls : between(random, 1, calls)
  const method = kind === 'error' ? 'refuse' : kind === 'action' ? 'act' : 'nothing'
  const args = kind === 'argument' ? [0, 'x'.repeat(size)] : [0, size]
  const end = { argument: 'nothing', action: 'done', error: 'NO refused' }[kind]
  return { kind, size, calls, inFlight, method, args, end }
}

const application = {
  methods: {
    give: bytes => ({ data: 'a'.repeat(bytes) }),
    refuse: bytes => Object.assign(new Error('no'), { code: 'NO', data: 'e'.repeat(bytes) }),
    small: () => 'small'
  },
  reduce: (count = 0, action) => (action === null ? count : count + 1)
}

for (const [name, method, calls, bytes] of [
  ['small calls whose actions are large', 'give', MIXES < 100 ? 60 : 1000, 600_000],
  ['refusals with much data', 'refuse', MIXES < 100 ? 500 : 2000, 20_000],
  ['many actions of a middling size', 'give', MIXES < 100 ? 300 : 2000, 50_000]
]) {
  test(`${name}, all at once over memory: ${calls} of ${bytes} B, from a follower`, async t => {
    const nodes = openCluster(t, 3, application)
    const { leader, followers } = await elected(nodes)
    const failures = []
    for (const node of nodes) node.on('error', ({ code, message }) => failures.push(`${code}: ${message}`))
    const { term } = leader.status()
    await Promise.all(nodes.map(node => node.ready()))
    const begun = performance.now()
    const ends = await Promise.all(
      Array.from({ length: calls }, () =>
        followers[0].perform(method, [bytes]).then(
          () => 'done',
          ({ code, data }) => `${code} ${data.length}`
        )
      )
    )
    assert.deepEqual(new Set(ends), new Set([method === 'give' ? 'done' : `NO ${bytes}`]))
    assert.equal(await followers[1].perform('small'), 'small')
    assert.deepEqual(failures, [])
    const elections = leader.status().term - term
    t.diagnostic(`${Math.round(performance.now() - begun)} ms, ${elections} elections`)
  })
}

test('an error keeps its data up to 64 KiB; beyond that its code, and 8 KiB of its message', async t => {
  const nodes = openCluster(t, 3, {
    methods: {
      fail: (length, message = 'no', code = 'NO') =>
        Object.assign(new Error(message), { code, facts: { a: 1 }, data: 'e'.repeat(length) }),
      failWith: message => {
        throw new Error(message)
      },
      failLongly: () => {
        throw Object.assign(new Error('m'.repeat(1_000_000)), { code: 'LONG' })
      },
      // As wide as its text is long.
      failWidely: count => Object.assign(new Error('wide'), { code: 'WIDE', data: 'ü'.repeat(count) })
    },
    reduce: (state = 0) => state
  })
  const { leader, followers } = await elected(nodes)
  for (const node of [leader, followers[0]]) {
    const kept = await rejection(node.perform('fail', [65_000]))
    assert.equal(kept.data.length, 65_000)
    assert.deepEqual([kept.message, kept.code, kept.facts, kept.outcome], ['no', 'NO', { a: 1 }, 'refused'])

    const cut = await rejection(node.perform('fail', [65_536]))
    assert.deepEqual(
      [cut.message, cut.code, cut.facts, cut.data, cut.outcome],
      ['no', 'NO', undefined, undefined, 'refused']
    )

    // The limit is one of bytes.
    assert.equal((await rejection(node.perform('failWidely', [32_000]))).data.length, 32_000)
    assert.equal((await rejection(node.perform('failWidely', [33_000]))).data, undefined)

    const long = await rejection(node.perform('failLongly'))
    assert.deepEqual([long.message, long.code], ['m'.repeat(8192), 'LONG'])

    for (const length of [60_000, 65_000]) {
      const whole = await rejection(node.perform('failWith', ['w'.repeat(length)]))
      assert.deepEqual([whole.message.length, whole.code], [length, 'ERR_CONFLUX_METHOD_THREW'])
      assert.equal(whole.remoteStack === undefined, length > 60_000)
    }

    // A code that is no name is data like any other.
    const odd = await rejection(node.perform('fail', [70_000, 'no', 'C'.repeat(257)]))
    assert.deepEqual([odd.message, odd.code], ['no', 'ERR_CONFLUX_REFUSED'])
  }
})
