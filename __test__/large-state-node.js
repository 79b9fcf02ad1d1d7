/**
 * One process of `large-states.js`: a node with a large state, which reports what blocks its event loop.
 */
'use strict'

const diagnostics = require('node:diagnostics_channel')
const fs = require('node:fs')
const { PerformanceObserver } = require('node:perf_hooks')
const { setTimeout: delay } = require('node:timers/promises')

const conflux = require('..')

const { shape, ...options } = JSON.parse(process.argv[2])

/** As JSON, a record has about 100 characters. */
const record = (i, n) => ({ id: i, n, text: `record ${i} `.padEnd(70, 'x') })
const records = (from, count) => Array.from({ length: count }, (_, i) => record(from + i, 0))
const members = list => Object.fromEntries(list.map(one => [`key ${one.id}`, one]))

function replaced(list, i, value) {
  const copy = [...list]
  copy[i] = value
  return copy
}

/** Of each shape: an empty one, one with more records, and one in which a record is replaced. */
const SHAPES = {
  /** Three levels of objects, with a hundred members each: a reducer copies three of them. */
  keys: {
    empty: () => ({}),
    grow(groups, from, count) {
      const first = Math.floor(from / 10_000)
      const added = {}
      for (let i = from; i < from + count; i += 100) added[`group ${i / 100}`] = members(records(i, 100))
      return { ...groups, [`group ${first}`]: { ...groups[`group ${first}`], ...added } }
    },
    set(groups, i, n) {
      const outer = `group ${Math.floor(i / 10_000)}`
      const inner = `group ${Math.floor(i / 100)}`
      const around = groups[outer]
      return {
        ...groups,
        [outer]: { ...around, [inner]: { ...around[inner], [`key ${i}`]: record(i, n) } }
      }
    }
  },
  /** All records are in one array. */
  array: {
    empty: () => [],
    grow: (list, from, count) => list.concat(records(from, count)),
    set: (list, i, n) => replaced(list, i, record(i, n))
  },
  /** Each level has 2,000 records, and the level below. The outermost 20 are changed: each change copies a path. */
  levels: {
    empty: () => null,
    grow: (level, from, count) =>
      level === null || level.list.length === 2000
        ? { inner: level, list: records(from, count) }
        : { inner: level.inner, list: level.list.concat(records(from, count)) },
    set(level, i, n, depth = 0) {
      const { inner, list } = level
      return depth === i % 20 || inner === null
        ? { inner, list: replaced(list, i % list.length, record(i, n)) }
        : { inner: SHAPES.levels.set(inner, i, n, depth + 1), list }
    }
  }
}
const { empty, grow, set } = SHAPES[shape]

/** The reducer's own time, in milliseconds. */
let reducing = 0

function reduce(state, action) {
  if (state === undefined) return { large: empty(), count: 0, sum: 0 }
  const start = performance.now()
  const { large, count, sum } = state
  const next =
    action.grow === undefined
      ? { large: set(large, action.set % count, action.n), count, sum: sum + action.n }
      : { large: grow(large, count, action.grow), count: count + action.grow, sum }
  reducing += performance.now() - start
  return next
}

/** How long this thread has waited for a processor, in milliseconds, where the operating system says it. */
const schedstat = fs.existsSync('/proc/self/schedstat') ? fs.openSync('/proc/self/schedstat') : null
const buffer = Buffer.alloc(128)
function waited() {
  if (schedstat === null) return 0
  const length = fs.readSync(schedstat, buffer, 0, buffer.length, 0)
  return Number(buffer.toString('latin1', 0, length).split(' ')[1]) / 1e6
}

/** What lies between two turns of the event loop, without the reducer and without waiting for a processor. */
const SAMPLE_MS = 1
const BLOCK_MS_MIN = 3
let blocks = []
let collections = []
let last = { at: performance.now(), reducing, waited: waited() }
function sample() {
  const now = { at: performance.now(), reducing, waited: waited() }
  const milliseconds =
    now.at - last.at - SAMPLE_MS - (now.reducing - last.reducing) - (now.waited - last.waited)
  if (milliseconds > BLOCK_MS_MIN) blocks.push({ from: last.at, to: now.at, milliseconds })
  last = now
  setTimeout(sample, SAMPLE_MS)
}
new PerformanceObserver(list => {
  for (const { startTime, duration } of list.getEntries()) collections.push({ from: startTime, duration })
}).observe({ entryTypes: ['gc'] })

/** The longest block, without the pauses of the garbage collector in it; and the longest of these. */
function longest() {
  let block = 0
  for (const { from, to, milliseconds } of blocks) {
    let paused = 0
    for (const { from: start, duration } of collections) {
      paused += Math.max(0, Math.min(to, start + duration) - Math.max(from, start))
    }
    block = Math.max(block, milliseconds - paused)
  }
  const pause = collections.reduce((max, { duration }) => Math.max(max, duration), 0)
  blocks = []
  collections = []
  return { block, pause }
}

const node = conflux({
  ...options,
  methods: {
    grow: count => ({ grow: count }),
    set: (i, n) => ({ set: i, n })
  },
  reduce
})
const snapshots = { taken: 0, restored: 0, failed: 0 }
diagnostics.subscribe('conflux:snapshot', ({ what }) => snapshots[what]++)
node.on('warning', ({ code, message }) => process.send({ warning: `${code}: ${message}` }))
node.on('error', ({ code, message }) => process.send({ fault: `${code}: ${message}` }))

const commands = {
  ready: () => node.ready({ timeout: 1_200_000 }),
  sync: () => node.sync({ timeout: 120_000 }),
  async grow({ times }) {
    for (let i = 0; i < times; i++) await node.perform('grow', [1000])
  },
  /** One call after the other, with a pause between them. Returns how long each took, in milliseconds. */
  async write({ seconds }) {
    const times = []
    const end = performance.now() + seconds * 1000
    for (let i = 0; performance.now() < end; i++) {
      const start = performance.now()
      await node.perform('set', [i * 7919 + process.pid, 1])
      times.push(performance.now() - start)
      await delay(20)
    }
    return times
  },
  transfer: ({ to }) => node.transferLeadership(to),
  /** What blocked it since the last time. */
  longest,
  status() {
    const { term, snapshotIndex, role } = node.status()
    const { sum, count } = node.getState()
    return { term, snapshotIndex, role, snapshots, sum, count, rss: process.memoryUsage().rss }
  },
  close: () => node.close()
}

process.on('message', async ({ ticket, command, ...given }) => {
  try {
    process.send({ ticket, result: await commands[command](given) })
  } catch (error) {
    process.send({ ticket, failure: error.stack })
  }
})
process.on('disconnect', () => process.exit())
sample()
