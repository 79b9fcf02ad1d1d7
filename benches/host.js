/**
 * One process of a peer under test: clients of its own kind (`peers/`), driven by the same code as every
 * other's.
 *
 * A client has `perform()`, which resolves when what it did is acknowledged, and done where the peer promises that.
 */
'use strict'

const { setTimeout: delay } = require('node:timers/promises')

const RAMP_STEP = 50
const RAMP_PAUSE_MS = 20

const options = JSON.parse(process.argv[2])
const { connect } = require(`./peers/${options.peer}`)

/** By the id of the node that they speak through. */
const clients = new Map()
let committedAt = 0
let longestPause = 0

const verbs = {
  open: async () => {
    for (const id of options.ids) clients.set(id, await connect({ ...options, id }))
  },

  /** Milliseconds from the start of the node to the end of its first call. */
  coldStart: async ({ id }) => {
    const start = performance.now()
    const client = await connect({ ...options, id })
    clients.set(id, client)
    await client.perform()
    return performance.now() - start
  },

  leaders: () => [...clients].filter(([, client]) => client.isLeader).map(([id]) => id),

  /** Whether a call went through within two seconds. */
  warmUp: async ({ id }) => {
    const performed = clients.get(id).perform()
    return Promise.race([
      performed.then(
        () => true,
        () => false
      ),
      delay(2000, false)
    ])
  },

  /** Milliseconds of each call, one after the other: how many, and two quantiles. */
  sequential: async ({ id, seconds }) => {
    const client = clients.get(id)
    const latencies = []
    const end = performance.now() + seconds * 1000
    for (let start = performance.now(); start < end || latencies.length === 0; start = performance.now()) {
      await client.perform()
      latencies.push(performance.now() - start)
    }
    return quantiles(latencies)
  },

  /** Calls a second with `inFlight` outstanding all the time, counted after `warmUp` seconds. */
  burst: async ({ id, inFlight, seconds, warmUp, patience }) => {
    const client = clients.get(id)
    let done = 0
    let rejected = 0
    let end = Infinity
    const keepOne = async () => {
      while (performance.now() < end) {
        try {
          await client.perform()
          done++
        } catch {
          // Some refuse while they have no leader, or too much to do.
          rejected++
          await delay(50)
        }
      }
    }
    const all = []
    const full = performance.now() + seconds * 1000
    while (all.length < inFlight) {
      all.push(keepOne())
      // Step by step, if that is quick: thousands out of the blue are more than 1.1.8 survives over Redis.
      const isPausing = client.needsRamp && all.length % RAMP_STEP === 0 && performance.now() < full
      if (isPausing) await delay(RAMP_PAUSE_MS)
    }
    await delay(warmUp * 1000)
    const start = performance.now()
    const before = done
    end = start + seconds * 1000
    await delay(seconds * 1000)
    const perSecond = (done - before) / ((performance.now() - start) / 1000)
    const isDrained = await Promise.race([Promise.all(all).then(() => true), delay(patience * 1000, false)])
    return { perSecond, rejected, isDrained }
  },

  /** So many tasks, one after the other, each in a lock of its key; when each held it, in milliseconds since the epoch. */
  lockTasks: async ({ id, key, count, taskMs }) => {
    const client = clients.get(id)
    const held = []
    for (let i = 0; i < count; i++) {
      const release = await client.acquire(key)
      const from = performance.timeOrigin + performance.now()
      await delay(taskMs)
      held.push({ from, to: performance.timeOrigin + performance.now() })
      await release()
    }
    return held
  },

  /** So many calls, `inFlight` at a time. */
  count: async ({ id, actions, inFlight }) => {
    const client = clients.get(id)
    let left = actions
    const keepOne = async () => {
      while (left-- > 0) await client.perform()
    }
    await Promise.all(Array.from({ length: inFlight }, keepOne))
  },

  /** One call after the other, until the process ends. */
  trickle: ({ id }) => {
    const client = clients.get(id)
    const forever = async () => {
      for (;;) {
        const isDone = await Promise.race([
          client.perform().then(
            () => true,
            () => false
          ),
          delay(5000, false)
        ])
        const now = performance.now()
        if (isDone) {
          longestPause = Math.max(longestPause, now - committedAt)
          committedAt = now
        }
        await delay(2)
      }
    }
    committedAt = performance.now()
    forever()
  },

  /** The longest pause between two commits from now on, once there is one commit after another again. */
  pause: async ({ settleMs, patienceMs }) => {
    longestPause = 0
    const deadline = performance.now() + patienceMs
    while (performance.now() < deadline) {
      await delay(20)
      if (longestPause > settleMs && performance.now() - committedAt < settleMs) return longestPause
    }
    return null
  },

  cpuMicroseconds: () => {
    const { user, system } = process.cpuUsage()
    return user + system
  },

  /** What stays when all garbage is collected. */
  residentBytes: async () => {
    for (let i = 0; i < 3; i++) {
      global.gc()
      await delay(200)
    }
    return process.memoryUsage.rss()
  },

  /** Leaves so many calls without an end, where there is no quorum. */
  strand: async ({ id, count }) => {
    const client = clients.get(id)
    for (let i = 0; i < count; i++) client.perform().catch(() => {})
    await delay(500)
  },

  fill: ({ id, bytes }) => clients.get(id).fill(bytes),

  /** What each client was acknowledged. */
  acknowledged: () => [...clients.values()].map(({ origin, acknowledged }) => ({ origin, acknowledged })),

  /** What each node applied, of all that was acknowledged before. */
  applied: async () => {
    for (const client of clients.values()) await client.settle?.()
    // Some have servers of their own: they are asked by the peer, not here.
    return [...clients.values()].map(client => client.applied?.()).filter(node => node !== undefined)
  }
}

function quantiles(samples) {
  samples.sort((a, b) => a - b)
  const at = p => samples[Math.min(samples.length - 1, Math.floor(samples.length * p))]
  return { p50: at(0.5), p99: at(0.99), samples: samples.length }
}

process.on('message', async ({ question, verb, argument }) => {
  try {
    process.send({ question, answer: await verbs[verb](argument ?? {}) })
  } catch (error) {
    process.send({ question, error: `${error.stack}` })
  }
})
// The process that asked has ended, so this one ends too.
process.on('disconnect', () => process.exit())
