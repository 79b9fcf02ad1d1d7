/**
 * One process under test of the workload `locks`: a conflux node with sessions, and clients that take locks of
 * conflux/recipes, hold them for a moment, and release them.
 *
 * Started by `cluster.js`, as `process.js` is. `lock-watch.js` compares what each action does to a lock with the rules, and
 * `checks/locks.js` the histories of all processes.
 */
'use strict'

const { setTimeout: delay, setImmediate: turn } = require('node:timers/promises')

const conflux = require('..')
const { compose, locks } = require('../recipes')
const { LockWatch } = require('./lock-watch')
const { Recorder } = require('./recorder')
const { answer, reachedBy, reportFaults } = require('./under-test')

const KEYS = 1000

/** Of all locks so many are leases, are held for long, and are waited for with a limit. */
const LEASE_PART = 0.25
const LONG_PART = 0.01
const IMPATIENT_PART = 0.03
const LEASE_MS_MIN = 100
const LEASE_MS_MAX = 2000
const LONG_MS_MAX = 300
const MAX_WAIT_MS = 50

/** A holder relies on a lease for so much of it: the clock of the cluster may run 5 % faster. */
const RELIABLE_PART = 0.9
const CLOCKS_DIFFER_MS = 25

const { origin, historyFile, clients, pause, channel, ...options } = JSON.parse(process.argv[2])
const history = new Recorder(historyFile)

const node = conflux({ ...options, channel: reachedBy(channel), ...compose({ locks: locks() }) })
const fault = reportFaults(node, history)
const mutex = locks.client(node, 'locks')
const watch = new LockWatch(node, 'locks', {
  broken: text => fault('BROKEN_RULE', `${origin}: ${text}`),
  sessionEnded: ({ id, session, reason }) => history.sessionEnded(id, session, reason)
})

let isStopping = false
let acknowledged = 0
/** When the acquisition was begun that was begun last and has ended: no older one shows that the cluster serves. */
let freshestInvocation = 0
let number = 0
/** What each failed acquisition failed with, and how often. */
const failures = {}

const running = node.ready().then(
  () => Promise.all(Array.from({ length: clients }, client)),
  () => {}
)

async function client() {
  while (!isStopping && node.status().state === 'open') {
    await takeOne(`key-${Math.floor(Math.random() * KEYS)}`)
    if (pause > 0) await delay(pause * Math.random() * 2)
  }
}

async function takeOne(key) {
  const owner = `${origin}-${++number}`
  const isLease = Math.random() < LEASE_PART
  const duration = isLease ? Math.round(anywhere(LEASE_MS_MIN, LEASE_MS_MAX)) : undefined
  const maxWait = Math.random() < IMPATIENT_PART ? MAX_WAIT_MS : undefined
  const invokedAt = history.now()
  let lock
  watch.expect(owner)
  try {
    lock = await mutex.acquire(key, { owner, duration, maxWait })
  } catch ({ code }) {
    watch.forget(owner)
    failures[code] = (failures[code] ?? 0) + 1
    // A cluster without a quorum refuses at once where calls are many.
    await delay(10)
    return
  }
  const reliableMs = isLease ? Math.max(0, duration * RELIABLE_PART - CLOCKS_DIFFER_MS) : 0
  const reliableUntil = isLease ? invokedAt + reliableMs * 1000 : null
  history.granted(key, lock.token, isLease ? null : watch.sessionOf(owner), reliableUntil)
  watch.forget(owner)
  acknowledged++
  freshestInvocation = Math.max(freshestInvocation, invokedAt)
  if (Math.random() < LONG_PART) await delay(Math.random() * LONG_MS_MAX)
  else await turn()
  history.ended(lock.token, lock.isValidForDuration(0))
  await lock.release().catch(() => {})
}

/** Evenly over the orders of magnitude. */
function anywhere(min, max) {
  return min * (max / min) ** Math.random()
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
  /** Ends the clients: each gets the lock that it waits for, and releases it. */
  stop: async () => {
    isStopping = true
    await running
    for (const owner of watch.unseen) fault('GRANT_LOST', `${origin}: "${owner}" has a grant and waits`)
    return { failures }
  },
  /** All locks are free once the leases are over. */
  finalState: async () => {
    await node.sync()
    const { token, locks: table } = node.getState().locks
    return { count: token, left: watch.leftIn(table) }
  }
}

answer(verbs, async () => {
  isStopping = true
  await node.close()
})
