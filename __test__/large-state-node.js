/**
 * One process of `large-states.js`: a node with a large state that reports what blocks its event loop.
 */
'use strict'

const diagnostics = require('node:diagnostics_channel')
const fs = require('node:fs')
const { PerformanceObserver } = require('node:perf_hooks')
const { setTimeout: delay } = require('node:timers/promises')

const conflux = require('..')

const { shape, ...options } = JSON.parse(process.argv[2])

/** As JSON, a record has about 100 characters. */
const record = (i, n) => ({ id: i, n, text: `record ${i} `.padEnd(75, 'x') })
const records = (from, count) => Array.from({ length: count }, (_, i) => record(from + i, 0))

/** Of each shape: an empty one, one with more records, and one in which a record is replaced. */
const SHAPES = {
  /** Groups of 1,000 members. */
  keys: {
    first: () => ({}),
    grow: (groups, from, count) => ({
      ...groups,
      [`group ${from / count}`]: Object.fromEntries(records(from, count).map(one => [`key ${one.id}`, one]))
    }),
    set(groups, i, n) {
      const group = `group ${Math.floor(i / 1000)}`
      return { ...groups, [group]: { ...groups[group], [`key ${i}`]: record(i, n) } }
    }
  },
  /** All records in one array. */
  array: {
    first: () => [],
    grow: (list, from, count) => list.concat(records(from, count)),
    set: (list, i, n) =>
      list.with?.(i, record(i, n)) ?? [...list.slice(0, i), record(i, n), ...list.slice(i + 1)]
  },
  /** Hundreds of levels. A state may have 1,000. */
  levels: {
    first: () => null,
    grow: (inner, from, count) => ({ inner, list: records(from, count) }),
    set: ({ inner, list }, i, n) =>
      i < list[0].id
        ? { inner: SHAPES.levels.set(inner, i, n), list }
        : {
            inner,
            list:
              list.with?.(i - list[0].id, record(i, n)) ??
              list.map(one => (one.id === i ? record(i, n) : one))
          }
  },
  /** All records under keys of one object. */
  one: {
    first: () => ({}),
    grow: (object, from, count) => ({
      ...object,
      ...Object.fromEntries(records(from, count).map(one => [`key ${one.id}`, one]))
    }),
    set: (object, i, n) => ({ ...object, [`key ${i}`]: record(i, n) })
  }
}
const { first, grow, set } = SHAPES[shape]

/** The reducer's own time, in milliseconds. */
let reducing = 0
function reduce(state, action) {
  if (state === undefined) return { large: first(), count: 0, sum: 0 }
  const start = performance.now()
  const { large, count, sum } = state
  const next =
    action.grow === undefined
      ? { large: set(large, action.set % count, action.n), count, sum: sum + action.n }
      : { large: grow(large, count, action.grow), count: count + action.grow, sum }
  reducing += performance.now() - start
  return next
}

/** How long this thread has waited for a processor, in milliseconds. */
const schedstat = fs.existsSync('/proc/self/schedstat') ? fs.openSync('/proc/self/schedstat') : null
const buffer = Buffer.alloc(64)
function scheduled() {
  if (schedstat === null) return [0, 0]
  const length = fs.readSync(schedstat, buffer, 0, 64, 0)
  return buffer
    .toString('latin1', 0, length)
    .split(' ')
    .map(x => Number(x) / 1e6)
}

/** Between two turns of the event loop, without the reducer and without waiting for a processor. */
const SAMPLE_MS = 1
let blocks = []
let collections = []
let last = { at: performance.now(), reducing: 0, waited: scheduled()[1], cpu: scheduled()[0] }
function sample() {
  const [cpu, waited] = scheduled()
  const now = { at: performance.now(), reducing, waited, cpu }
  const milliseconds =
    now.at - last.at - SAMPLE_MS - (now.reducing - last.reducing) - (now.waited - last.waited)
  if (milliseconds > 3)
    blocks.push({
      at: last.at,
      until: now.at,
      milliseconds,
      marks,
      cpu: now.cpu - last.cpu - (now.reducing - last.reducing)
    })
  marks = []
  last = now
  setTimeout(sample, SAMPLE_MS)
}
let marks = []
const ORIGIN = Number(process.hrtime.bigint()) / 1000 - performance.now() * 1000
sample()
new PerformanceObserver(list => {
  for (const { startTime, duration, detail } of list.getEntries()) {
    collections.push({ at: startTime, duration, kind: detail.kind })
  }
}).observe({ entryTypes: ['gc'] })

/** The longest blocks, and the collector's part of each. */
function longest() {
  const sorted = blocks.sort((a, b) => b.milliseconds - a.milliseconds).slice(0, 5)
  return sorted.map(({ at, until, milliseconds, marks, cpu }) => ({
    at: Math.round(at * 1000 + ORIGIN),
    until: Math.round(until * 1000 + ORIGIN),
    cpu: +cpu.toFixed(1),
    ms: +milliseconds.toFixed(1),
    gc: +collections
      .filter(gc => gc.at < until && gc.at + gc.duration > at)
      .reduce((sum, { duration }) => sum + duration, 0)
      .toFixed(1),
    marks
  }))
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
let lastTaken = null
diagnostics.subscribe('conflux:snapshot', ({ what, ...facts }) => {
  snapshots[what]++
  marks.push(what)
  if (what === 'taken') lastTaken = facts
})
node.on('warning', ({ code, message }) => process.send({ warning: `${code}: ${message}` }))
node.on('error', ({ code, message }) => process.send({ fault: `${code}: ${message}` }))

const commands = {
  ready: () => node.ready({ timeout: 600_000 }),
  sync: () => node.sync({ timeout: 60_000 }),
  async grow({ count, times }) {
    for (let i = 0; i < times; i++) await node.perform('grow', [count])
  },
  /** One call after the other; the times that they took, in milliseconds. */
  async write({ seconds, pause }) {
    const times = []
    const end = performance.now() + seconds * 1000
    for (let i = 0; performance.now() < end; i++) {
      const start = performance.now()
      await node.perform('set', [Math.floor(Math.random() * 2 ** 30), 1])
      times.push(performance.now() - start)
      if (pause > 0) await delay(pause)
    }
    return times
  },
  transfer: ({ to }) => node.transferLeadership(to),
  /** Figures since the last time. */
  figures() {
    const { term, snapshotIndex, role } = node.status()
    const given = {
      blocks: longest(),
      snapshots: { ...snapshots },
      lastTaken,
      term,
      snapshotIndex,
      role,
      rss: Math.round(process.memoryUsage().rss / 2 ** 20)
    }
    blocks = []
    collections = []
    return given
  },
  state: () => ({ sum: node.getState().sum, count: node.getState().count }),
  close: () => node.close()
}

process.on('disconnect', () => process.exit())
process.on('message', async ({ ticket, command, ...given }) => {
  try {
    process.send({ ticket, result: await commands[command](given) })
  } catch (error) {
    process.send({ ticket, failure: error.stack })
  }
})
