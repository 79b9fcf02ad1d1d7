// Shows that many timers, and timers with much to make up for, cost what they should: as much as is allowed is kept through
// snapshots and restarts, more is refused, and what is not due costs nothing.

'use strict'

const assert = require('node:assert/strict')
const path = require('node:path')
const test = require('node:test')
const { setTimeout: delay } = require('node:timers/promises')

const { Coordinated } = require('./coordinated')
const { makeFolder, openOne, rejection, until } = require('./nodes')

const TIMERS_MAX = 200_000
const BYTES_MAX = 64 * 1024 * 1024
const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

const armed = {
  methods: {
    arm(first, count, args) {
      const at = this.now() + HOUR_MS
      for (let i = first; i < first + count; i++) this.schedule(`t${i}`, { at, method: 'fire', args })
    },
    fire: (...args) => ({ type: 'fired', args })
  },
  reduce: (state, action) => (action === null ? [] : [...state, action])
}

/** Of this process, in milliseconds of a processor for each second. */
async function idleCost(milliseconds) {
  const before = process.cpuUsage()
  await delay(milliseconds)
  const { user, system } = process.cpuUsage(before)
  return (user + system) / milliseconds
}

test(
  '200,000 timers, kept through a snapshot and a restart; one more is refused; idle, they cost nothing',
  { timeout: 300_000 },
  async t => {
    const options = { ...armed, storage: { path: path.join(makeFolder(t), 'a') }, snapshot: { entries: 20 } }
    const node = openOne(t, options)
    await node.ready()
    const idle = await idleCost(2000)
    for (let first = 0; first < TIMERS_MAX; first += 2000) await node.perform('arm', [first, 2000, []])
    assert.equal(node.status().timers.count, TIMERS_MAX)

    const error = await rejection(node.schedule('one more', { at: Date.now() + HOUR_MS, method: 'fire' }))
    assert.deepEqual([error.code, error.outcome], ['ERR_CONFLUX_TOO_MANY_TIMERS', 'refused'])
    assert.match(error.message, /there are 200000 timers of \d+ bytes; at most 200000 and 67108864 bytes/)
    assert.deepEqual([error.count, error.countMax, error.bytesMax], [TIMERS_MAX, TIMERS_MAX, BYTES_MAX])
    // One that replaces another is not one more.
    await node.schedule('t0', { at: Date.now() + 2 * HOUR_MS, method: 'fire' })

    await until('the last snapshot is taken', () => node.status().snapshotIndex > 100)
    const withTimers = await idleCost(2000)
    t.diagnostic(
      `idle: ${idle.toFixed(1)} ms of a processor per second without timers, ${withTimers.toFixed(1)} ms with ${TIMERS_MAX}`
    )
    // A single look at all of them takes longer than that.
    assert.ok(withTimers < idle + 100, `${withTimers} ms for each second, ${idle} ms without timers`)

    await node.close()
    const again = openOne(t, options)
    await again.ready()
    assert.equal(again.status().timers.count, TIMERS_MAX)
    await again.unschedule('t1')
    await again.schedule('soon', { at: Date.now() + 50, method: 'fire', args: ['x'] })
    await until('the one that is due fires', () => again.getState().length === 1)
    assert.equal(again.status().timers.count, TIMERS_MAX - 1)
  }
)

test(
  'timers of 64 MiB together: what is larger is refused, and the rest stays',
  { timeout: 300_000 },
  async t => {
    const node = openOne(t, { ...armed, snapshot: { entries: 50 } })
    await node.ready()
    const args = ['x'.repeat(60_000)]
    let error
    let count = 0
    while (error === undefined && count < 2000) {
      error = await node.perform('arm', [count, 4, args]).then(
        () => void (count += 4),
        error => error
      )
    }
    assert.deepEqual([error?.code, error?.outcome], ['ERR_CONFLUX_TOO_MANY_TIMERS', 'refused'])
    assert.ok(count * 60_000 > BYTES_MAX * 0.95 && count * 60_000 < BYTES_MAX, `${count} timers`)
    assert.equal(node.status().timers.count, count)
    await node.unschedule('t0')
    await node.schedule('t0', { at: Date.now() + 20, method: 'fire', args: ['y'] })
    await until('it fires', () => node.getState().length === 1)
  }
)

test('a timer whose method is gone waits for a leader that has it, and keeps no other timer waiting', async t => {
  const storage = { path: path.join(makeFolder(t), 'a') }
  const former = openOne(t, { ...armed, storage })
  await former.schedule('gone', { at: Date.now() + 500, method: 'fire', args: [1] })
  await former.close()

  const { fire, ...methods } = armed.methods
  const without = openOne(t, { ...armed, storage, methods: { ...methods, other: () => ({ type: 'other' }) } })
  await without.ready()
  await without.schedule('other', { every: 50, method: 'other' })
  await until('others fire, after the time of the first', () => without.getState().length > 15)
  assert.deepEqual([...new Set(without.getState().map(({ type }) => type))], ['other'])
  assert.deepEqual(
    without
      .timers()
      .map(({ name }) => name)
      .sort(),
    ['gone', 'other']
  )
  await without.unschedule('other')
  await without.close()

  const again = openOne(t, { ...armed, storage })
  await again.ready()
  await until('it fires', () => again.getState().some(({ type }) => type === 'fired'))
  assert.deepEqual(again.timers(), [])
  assert.equal(again.getState().filter(({ type }) => type === 'fired').length, 1)
})

test(
  "missed: 'all' after a day: 8.6 million firings are made up for one by one, and keep no call waiting",
  { timeout: 120_000 },
  async t => {
    const cluster = new Coordinated(
      t,
      { folder: makeFolder(t), snapshot: { entries: 200 } },
      { reports: false }
    )
    await cluster.ready()
    await cluster.living[0].ask('schedule', 'often', { every: 10, method: 'fire', missed: 'all' })
    await until('it has fired', async () => (await cluster.living[0].ask('firings')).count > 3)
    await Promise.all(cluster.living.map(member => member.kill()))
    // All processes are new: they take the wall clocks as they are.
    for (const id of ['a', 'b', 'c']) cluster.start(id, DAY_MS)
    await cluster.ready()
    const leader = await cluster.leader()
    const begin = performance.now()
    const { count } = await leader.ask('firings')
    const waits = []
    while (waits.length < 50) {
      const called = performance.now()
      await cluster.living[waits.length % 3].ask('perform', 'stamp', ['x'])
      waits.push(performance.now() - called)
    }
    await until('a hundred are made up for', async () => (await leader.ask('firings')).count > count + 100)
    const rate = ((await leader.ask('firings')).count - count) / ((performance.now() - begin) / 1000)
    waits.sort((one, other) => one - other)
    t.diagnostic(
      `${Math.round(rate)} firings per second; calls meanwhile took ${waits[25].toFixed(1)} ms (p50), ${waits[49].toFixed(1)} ms at most`
    )
    assert.ok(waits[49] < 10_000, `a call took ${waits[49]} ms`)
    await leader.ask('unschedule', 'often')
    const after = (await leader.ask('firings')).count
    assert.deepEqual(await leader.ask('timers'), [])
    await leader.ask('perform', 'stamp', ['y'])
    const firings = await leader.ask('firings')
    assert.deepEqual(firings, { count: after, repeated: [] })
  }
)

test(
  'a process that is paused for 10 s is late, and takes the pause for no step of its clock',
  { timeout: 120_000 },
  async t => {
    const cluster = new Coordinated(t, {}, { size: 1 })
    await cluster.ready()
    const [member] = cluster.living
    const begin = Date.now()
    await member.ask('schedule', 'during', { at: begin + 2000, method: 'fire' })
    await member.ask('schedule', 'after', { at: begin + 12_000, method: 'fire' })
    member.pause()
    await delay(10_000)
    member.resume()
    await until('both have fired', async () => (await member.ask('firings')).count === 2)
    const [[due, at], [dueAfter, atAfter]] = await member.ask('times')
    assert.ok(at - due > 7000, `late by ${at - due} ms`)
    assert.ok(atAfter - dueAfter < 1000, `late by ${atAfter - dueAfter} ms`)
    assert.ok(Math.abs(Date.now() - (await member.ask('perform', 'stamp', ['x'])).now) < 1000)
    assert.deepEqual(
      member.warnings.filter(({ code }) => code === 'WARN_CONFLUX_CLOCK_JUMP'),
      []
    )
  }
)
