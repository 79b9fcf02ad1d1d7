/**
 * One process of `life.js`: a node whose state is small, however many actions it has behind it, until it is
 * asked to be large.
 */
'use strict'

const { createHash } = require('node:crypto')
const { setTimeout: delay } = require('node:timers/promises')

const conflux = require('..')

const ROW_BYTES = 1024

const node = conflux({
  ...JSON.parse(process.argv[2]),
  methods: { append: thing => thing, fill: bytes => ({ bytes }) },
  reduce
})

const warnings = []
node.on('warning', ({ code }) => warnings.push(code))

let committedAt = performance.now()
let longestGap = 0
node.subscribe(() => {
  const now = performance.now()
  longestGap = Math.max(longestGap, now - committedAt)
  committedAt = now
})

function reduce(state = { count: 0, last: null, rows: [] }, action) {
  if (action === null) return state
  if (action.bytes !== undefined) return { ...state, rows: rowsOf(action.bytes) }
  return { ...state, count: state.count + 1, last: action }
}

/** So many bytes of JSON, no two rows alike. */
function rowsOf(bytes) {
  return Array.from({ length: bytes / ROW_BYTES }, (_, id) => {
    const name = createHash('sha256').update(`${id}`).digest('hex')
    const row = { id, name, text: '' }
    row.text = name.repeat(ROW_BYTES / name.length).slice(0, ROW_BYTES - JSON.stringify(row).length - 1)
    return row
  })
}

const verbs = {
  /** Resolves when this node has everything that the cluster had at the call. */
  caughtUp: async () => {
    await node.ready()
    await node.sync()
    return node.getState().count
  },

  burst: async ({ actions, inFlight }) => {
    let left = actions
    const keepOne = async () => {
      while (left > 0) await node.perform('append', [`${process.pid}:${left--}`])
    }
    await Promise.all(Array.from({ length: inFlight }, keepOne))
  },

  fill: bytes => node.perform('fill', [bytes]),

  /** One call every 10 ms, until the answer to `longestGap` is wanted. */
  trickle: async () => {
    longestGap = 0
    committedAt = performance.now()
    for (isTrickling = true; isTrickling; await delay(10)) await node.perform('append', ['drop'])
  },
  longestGap: () => {
    isTrickling = false
    return longestGap
  },

  status: () => node.status(),

  warnings: () => warnings,

  digest: () => {
    const text = JSON.stringify(node.getState().rows)
    return { bytes: text.length, digest: createHash('sha256').update(text).digest('hex') }
  },

  /** What stays when all garbage is collected. */
  residentBytes: async () => {
    for (let i = 0; i < 3; i++) {
      global.gc()
      await delay(300)
    }
    return process.memoryUsage.rss()
  }
}

let isTrickling = false

process.on('message', async ({ question, verb, argument }) => {
  try {
    process.send({ question, answer: await verbs[verb](argument) })
  } catch (error) {
    process.send({ question, error: `${error.stack}` })
  }
})
