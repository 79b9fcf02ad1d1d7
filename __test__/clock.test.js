// Shows that `this.now()` is one clock for the whole cluster: it never falls, does not jump ahead, and is what commits
// carry as `at`; and that `this.random()` belongs to the call.

'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')

/** By so much the wall clock of this process is wrong. conflux takes `Date.now` when it is loaded. */
let offset = 0
const trueTime = Date.now
Date.now = () => trueTime() + offset

const { Clock } = require('../lib/clock')
const { Random } = require('../lib/random')
const { Coordinated } = require('./coordinated')
const { openCluster, openOne, until } = require('./nodes')

const HOUR_MS = 3_600_000

const stamping = {
  methods: {
    stamp() {
      return { now: this.now(), again: this.now(), random: [this.random(), this.random(), this.random()] }
    },
    keep() {
      kept = this
      return 'kept'
    }
  },
  reduce: (state, action) => (action === null ? [] : [...state, action])
}
let kept

test("`now()` is the leader's wall clock, and the `at` of the commit on every node", async t => {
  const nodes = openCluster(t, 3, stamping)
  await Promise.all(nodes.map(node => node.ready()))
  const seen = nodes.map(() => [])
  nodes.forEach((node, i) => node.subscribe(({ action, index, at }) => seen[i].push({ action, index, at })))
  const before = Date.now()
  const action = await nodes[1].perform('stamp')
  await until('all nodes have it', () => seen.every(commits => commits.length === 1))
  assert.ok(action.now >= before && action.now <= Date.now(), `${before} <= ${action.now}`)
  assert.equal(action.again, action.now)
  for (const [commit] of seen) assert.equal(commit.at, action.now)
  for (const node of nodes) {
    const { value } = await node.commits({ from: seen[0][0].index }).next()
    assert.deepEqual(value, seen[0][0], 'an iterator that reads the log has the same')
  }
})

test('after a snapshot there is no action and no time, and then there is', async t => {
  const nodes = openCluster(t, 1, { ...stamping, snapshot: { entries: 1 } })
  const [node] = nodes
  const first = await node.perform('stamp')
  await until('a snapshot', () => node.status().snapshotIndex > 0)
  assert.ok(first.now > 0)
})

test('what belongs to an evaluation ends with it', async t => {
  const node = openOne(t, stamping)
  await node.perform('keep')
  for (const name of ['now', 'random']) {
    assert.throws(kept[name], {
      code: 'ERR_CONFLUX_NOT_IN_METHOD',
      message: new RegExp(`this\\.${name}\\(\\)`)
    })
  }
  assert.equal(kept.status().id, node.status().id, 'it is still the node')
})

test('every call has random numbers of its own, from 0 to below 1', async t => {
  const node = openOne(t, stamping)
  const actions = await Promise.all(Array.from({ length: 500 }, () => node.perform('stamp')))
  const numbers = actions.flatMap(({ random }) => random)
  assert.equal(new Set(numbers).size, numbers.length)
  assert.ok(numbers.every(number => number >= 0 && number < 1))
  const mean = numbers.reduce((sum, number) => sum + number, 0) / numbers.length
  assert.ok(Math.abs(mean - 0.5) < 0.05, `the mean of ${numbers.length} numbers is ${mean}`)
})

test('a seed gives one sequence, whose numbers fill all of the interval', () => {
  const draw = seed => {
    const random = new Random(seed)
    return Array.from({ length: 20_000 }, () => random.next())
  }
  const numbers = draw(2 ** 53 - 1)
  assert.deepEqual(draw(2 ** 53 - 1), numbers)
  assert.notDeepEqual(draw(1), draw(2))
  const parts = new Array(10).fill(0)
  for (const number of numbers) parts[Math.floor(number * 10)]++
  // The standard deviation of a part is 42.
  for (const count of parts) assert.ok(Math.abs(count - 2000) < 250, `${parts}`)
})

/** A clock whose monotonic time the test passes. */
function makeClock(uptime) {
  const jumps = []
  const clock = new Clock(jump => jumps.push(jump), uptime)
  clock.isLive = true
  return { clock, jumps, start: trueTime() }
}

/** Sets the wall clock of this process to that time. */
function setWall(time) {
  offset = time - trueTime()
}

/** The wall clock continues while the test runs. */
const near = (time, expected) => assert.ok(Math.abs(time - expected) <= 20, `${time - expected} ms`)

test('a clock without anything to compare with takes the wall clock as it is', t => {
  t.after(() => (offset = 0))
  const { clock, jumps, start } = makeClock()
  setWall(start + 10 * HOUR_MS)
  near(clock.read(0), start + 10 * HOUR_MS)
  assert.deepEqual(jumps, [])
})

test('a machine that slept has the time that has passed; a step of the clock beside it does not count', t => {
  t.after(() => (offset = 0))
  let uptime = 1000
  const { clock, jumps, start } = makeClock(() => uptime)
  setWall(start)
  near(clock.read(0), start)
  // The monotonic clock stood still for an hour.
  uptime += 3601
  setWall(start + HOUR_MS + 1000)
  near(clock.read(1000), start + HOUR_MS + 1000)
  assert.deepEqual(jumps, [])
  uptime += 60
  setWall(start + HOUR_MS + 61_000)
  near(clock.read(61_000), start + HOUR_MS + 61_000)
  // An hour of sleep, and a clock that was set by another one.
  uptime += 3600
  setWall(start + 3 * HOUR_MS + 61_000)
  near(clock.read(61_000), start + 2 * HOUR_MS + 61_000)
  assert.equal(jumps.length, 1)
  // It slept once.
  setWall(start + 3 * HOUR_MS + 62_000)
  uptime += 1
  near(clock.read(62_000), start + 2 * HOUR_MS + 62_050)
})

test('a step ahead does not count: the clock approaches the wall clock by 5 % of the time', t => {
  t.after(() => (offset = 0))
  const { clock, jumps, start } = makeClock()
  setWall(start)
  clock.read(0)
  setWall(start + HOUR_MS + 1000)
  near(clock.read(1000), start + 1050)
  assert.equal(jumps.length, 1)
  near(jumps[0].wall, start + HOUR_MS + 1000)
  near(jumps[0].at, start + 1050)
  setWall(start + HOUR_MS + 101_000)
  near(clock.read(101_000), start + 101_000 + 5050)
  assert.equal(jumps.length, 1, 'it warns once')
  setWall(start + 102_000 + 5150)
  near(clock.read(102_000), start + 102_000 + 5100)
  setWall(start - HOUR_MS)
  clock.read(103_000)
  assert.equal(jumps.length, 2, 'it warns of the next one')
})

test('a step of less than a second, as one back after a step, is approached by 5 % of the time as well', t => {
  t.after(() => (offset = 0))
  const { clock, jumps, start } = makeClock()
  setWall(start)
  clock.read(0)
  for (const [moment, wall, expected] of [
    [1000, start + 1500, start + 1050],
    [2000, start + 2500, start + 2100],
    [12_000, start + 12_500, start + 12_500],
    [13_000, start + 13_300, start + 13_450],
    [16_000, start + 16_300, start + 16_300],
    [16_010, start + 16_320, start + 16_320]
  ]) {
    setWall(wall)
    near(clock.read(moment), expected)
  }
  assert.deepEqual(jumps, [])
})

test('a step back lets the clock run on, 5 % slower, and it never falls', t => {
  t.after(() => (offset = 0))
  const { clock, jumps, start } = makeClock()
  setWall(start)
  clock.read(0)
  setWall(start + 1000 - HOUR_MS)
  near(clock.read(1000), start + 950)
  assert.equal(jumps.length, 1)
  let last = 0
  for (let moment = 1000; moment < 2000; moment += 10) {
    const time = clock.read(moment)
    assert.ok(time >= last)
    last = time
  }
  clock.observe(start + 10_000, 2000)
  assert.ok(clock.read(2001) >= start + 10_000, 'the time of an entry is the least')
})

test('a follower knows the time from what is committed, also if one entry came late', t => {
  t.after(() => (offset = 0))
  const { clock, jumps, start } = makeClock()
  clock.observe(start, 5)
  // Applied ten seconds after its evaluation.
  clock.observe(start + 1000, 11_000)
  setWall(start + 20_000)
  near(clock.read(20_000), start + 20_000)
  assert.deepEqual(jumps, [])
})

test('what an old log says is no reason to mistrust the wall clock', t => {
  t.after(() => (offset = 0))
  const { clock, jumps, start } = makeClock()
  clock.isLive = false
  clock.observe(start - HOUR_MS, 5)
  setWall(start)
  near(clock.read(1000), start)
  assert.deepEqual(jumps, [])
})

test('the clock of the cluster neither falls nor jumps when leaders die whose clocks are wrong by an hour', async t => {
  const offsets = { a: 0, b: HOUR_MS, c: -HOUR_MS, d: 2 * HOUR_MS, e: -2 * HOUR_MS }
  const cluster = new Coordinated(t, {}, { size: 5, clockOffset: id => offsets[id] })
  await cluster.ready()
  let number = 0
  const stamp = member => member.ask('perform', 'stamp', [number++])
  const [watcher] = cluster.members
  const first = await stamp(watcher)
  const begin = Date.now()
  for (let kills = 0; kills < 2; kills++) {
    for (let i = 0; i < 20; i++) await stamp(watcher)
    const leader = await cluster.leader()
    if (leader === watcher) await leader.ask('transferLeadership')
    await (await cluster.leader()).kill()
    for (let i = 0; i < 20; i++) await stamp(watcher)
  }
  // The leader's clock is set, to and fro.
  for (const step of [3 * HOUR_MS, -3 * HOUR_MS]) {
    const leader = await cluster.leader()
    await leader.ask('setClock', step)
    for (let i = 0; i < 20; i++) await stamp(watcher)
  }
  const last = await stamp(watcher)
  const elapsed = Date.now() - begin
  const { commits } = watcher
  for (let i = 1; i < commits.length; i++) {
    assert.ok(commits[i].at >= commits[i - 1].at, `${commits[i - 1].at} ms, then ${commits[i].at} ms`)
    assert.equal(commits[i].at, commits[i].action.now)
  }
  // 5 %, and what the change of leaders may lose; and what passed outside of the two readings of the clock here.
  const error = Math.abs(last.now - first.now - elapsed)
  assert.ok(error <= elapsed * 0.05 + 500, `${last.now - first.now} ms passed instead of ${elapsed}`)
  const warned = cluster.members.flatMap(({ warnings }) => warnings.map(({ code }) => code))
  assert.ok(warned.includes('WARN_CONFLUX_CLOCK_JUMP'), `${warned}`)
})
