/**
 * One process under test: a conflux node, and clients that call on it and read it.
 *
 * Started by `cluster.js`, which talks to it by messages. Everything that happens is written to a history file before
 * anything else depends on it: the process may be killed at any moment, and what it did must still be known.
 */
'use strict'

const { setTimeout: delay } = require('node:timers/promises')

const conflux = require('..')
const { abridge, currentKey, methods, oldestKey, reduce, spendTime } = require('./application')
const { answer, reachedBy, reportFaults } = require('./under-test')
const { Recorder } = require('./recorder')

/** A call that waits longer ends with an unknown outcome, and its client continues. */
const PERFORM_TIMEOUT_MS = 5000
const SYNC_TIMEOUT_MS = 5000

/** Of all calls so many are as large and as slow as they may be, or anything below that. */
const BULK_PART = 0.02
/** What else is in a call of the largest size. */
const AROUND = 512
const BYTES_MAX = 1024 * 1024 - AROUND
/** An error with more data is cut. */
const ERROR_BYTES_MAX = 64 * 1024
const COST_MS_MIN = 0.01
const COST_MS_MAX = 100

const { origin, historyFile, clients, pause, channel, ...options } = JSON.parse(process.argv[2])
const history = new Recorder(historyFile)

spendTime()
const node = conflux({ ...options, channel: reachedBy(channel), methods, reduce })

let countSeen = 0
node.subscribe(() => {
  const { count, recent, digest } = node.getState()
  // Several at once after a replay or a snapshot.
  const earlier = count > countSeen + 1 ? recent.slice(-(count - countSeen), -1) : undefined
  history.state(count, recent.at(-1), digest, earlier)
  countSeen = count
})
node.on('warning', ({ code, message }) => history.event(code, message))
reportFaults(node, history)

let isStopping = false
let acknowledged = 0
/** When the last call was acknowledged that was made last: no older one says that the cluster serves. */
let freshestInvocation = 0
let number = 0

const running = node.ready().then(
  () => Promise.all(Array.from({ length: clients }, client)),
  () => {}
)

/** Runs one client: one call or read after the other, chosen at random. */
async function client() {
  let lock = null
  while (!isStopping && node.status().state === 'open') {
    if (Math.random() < 0.15) await read()
    else if (lock !== null) {
      if (!(await isUnknown(perform('release', lock.key, lock.owner)))) lock = null
    } else {
      const key = currentKey(node.getState())
      const id = nextId()
      const drawn = Math.random()
      if (Math.random() < BULK_PART) await performBulk(id, key)
      else if (drawn < 0.2) {
        const outcome = await performAs(id, 'acquire', key, id)
        if (outcome === 'done') lock = { key, owner: id }
      } else if (drawn < 0.4) await performAs(id, 'append', key, id)
      else if (drawn < 0.44) await performAs(id, 'push', key, id)
      // More than are pushed: some find it empty.
      else if (drawn < 0.5) await performAs(id, 'take', key)
      else if (drawn < 0.6) await performAs(id, 'write', key, id)
      else if (drawn < 0.85) await performAs(id, 'cas', key, node.getState().registers[key] ?? null, id)
      else await performAs(id, 'add', key, 1 + Math.floor(Math.random() * 9))
    }
    await delay(pause * Math.random() * 2)
  }
}

/** Evenly over the orders of magnitude. */
function anywhere(min, max) {
  return min * (max / min) ** Math.random()
}

async function performBulk(id, key) {
  const cost = Number(anywhere(COST_MS_MIN, COST_MS_MAX).toFixed(2))
  const bytes = Math.floor(anywhere(1, BYTES_MAX))
  const drawn = Math.random()
  if (drawn < 0.4) await performAs(id, 'bulk', key, 'x'.repeat(bytes), 10, cost)
  else if (drawn < 0.8) await performAs(id, 'bulk', key, '', bytes, cost)
  else await performAs(id, 'decline', key, Math.floor(anywhere(1, 2 * ERROR_BYTES_MAX)), cost)
}

async function isUnknown(outcome) {
  return (await outcome) === 'unknown'
}

function nextId() {
  return `${origin}:${++number}`
}

function perform(method, ...args) {
  return performAs(nextId(), method, ...args)
}

async function performAs(id, method, ...args) {
  const invokedAt = history.invoked(id, method, method === 'bulk' ? abridgeArgs(args) : args)
  try {
    const action = await node.perform(method, [id, ...args], PERFORM_TIMEOUT_MS)
    history.acknowledged(id, abridge(action))
    acknowledged++
    freshestInvocation = Math.max(freshestInvocation, invokedAt)
    return 'done'
  } catch (error) {
    history.rejected(id, error)
    return error.outcome
  }
}

function abridgeArgs([key, argument, ...rest]) {
  return [key, argument.length, ...rest]
}

async function read() {
  const invokedAt = history.now()
  try {
    await node.sync({ timeout: SYNC_TIMEOUT_MS })
  } catch ({ code }) {
    history.event('READ_FAILED', code)
    return
  }
  const state = node.getState()
  const key = currentKey(state)
  history.read(invokedAt, state, key >= oldestKey(state) ? key : null)
}

const verbs = {
  status: () => node.status(),
  progress: () => ({ acknowledged, freshestInvocation, now: history.now() }),
  /** Blocks the event loop, as an application does that computes for too long. */
  block: milliseconds => {
    for (const end = performance.now() + milliseconds; performance.now() < end;);
  },
  sync: timeout => node.sync({ timeout }),
  memory: () => process.memoryUsage.rss(),
  wallClock: () => Date.now(),
  transferLeadership: id => node.transferLeadership(id),
  remove: id => node.remove(id, { timeout: 8000 }),
  /** Ends the clients; what they wait for ends with its timeout. */
  stop: () => {
    isStopping = true
    return running
  },
  /** Everything that was acknowledged anywhere before is in it. */
  finalState: async () => {
    await node.sync()
    await read()
    return node.getState()
  }
}

answer(verbs, async () => {
  isStopping = true
  await node.close()
})
