/**
 * One process of `burst.js`: a node whose application takes as long, and gives as much, as each call says, and
 * a watch over its own event loop and memory.
 */
'use strict'

const conflux = require('..')

/**
 * `state`: so many bytes of it, as items of a list that is copied by every action. `reducerMs`, `subscriberMs`: costs.
 * `isIdle`: they block JavaScript and leave the processor to the others, as if each process had one of its own.
 */
const { state, reducerMs, subscriberMs, isIdle = false, ...options } = JSON.parse(process.argv[2])

const ITEM = 'an item'
const initial = {
  count: 0,
  items: Array.from({ length: Math.ceil(state / (ITEM.length + 3)) }, () => ITEM)
}

const nothing = new Int32Array(new SharedArrayBuffer(4))

function spin(milliseconds) {
  if (isIdle && milliseconds > 0) Atomics.wait(nothing, 0, 0, milliseconds)
  else for (const end = performance.now() + milliseconds; performance.now() < end;);
}

/** How often the method ran here. */
let runs = 0

const methods = {
  /** Takes so long, and returns so large an action. */
  act(milliseconds, bytes) {
    runs++
    spin(milliseconds)
    return { data: 'a'.repeat(bytes) }
  },
  /** Takes so long, and refuses with so much data. */
  refuse(milliseconds, bytes) {
    spin(milliseconds)
    return Object.assign(new Error('no'), { code: 'NO', data: 'e'.repeat(bytes) })
  },
  nothing: milliseconds => spin(milliseconds)
}

function reduce(before = initial, action) {
  if (action === null) return before
  spin(reducerMs)
  // The state keeps its size, and every state is another list.
  return { count: before.count + 1, items: [...before.items] }
}

const node = conflux({ ...options, methods, reduce })
if (subscriberMs > 0) node.subscribe(() => spin(subscriberMs))

const warnings = []
node.on('warning', ({ code }) => warnings.push(code))
node.on('error', ({ code, message }) => warnings.push(`${code}: ${message}`))
node.on('diverged', ({ code, message }) => warnings.push(`${code}: ${message}`))

/**
 * The longest time between two turns of the event loop, and the most memory. Only as much of the time counts as this process
 * had a processor for: on a machine that is busy a turn takes longer, and that is not a fault.
 */
const WATCH_MS = 5
let seen = performance.now()
let used = process.cpuUsage()
let longest = 0
let rss = 0
function watch() {
  const now = performance.now()
  const { user, system } = process.cpuUsage(used)
  longest = Math.max(longest, Math.min(now - seen, (user + system) / 1000))
  seen = now
  used = process.cpuUsage()
  rss = Math.max(rss, process.memoryUsage.rss())
}
setInterval(watch, WATCH_MS)

const verbs = {
  ready: () => node.ready(),
  status: () => node.status(),
  count: () => node.getState().count,
  sync: () => node.sync({ timeout: 30_000 }),
  reset() {
    watch()
    longest = rss = runs = 0
    warnings.length = 0
    watch()
    return process.memoryUsage.rss()
  },
  watched() {
    watch()
    return { longest, rss, runs, warnings }
  },
  /** So many calls, `inFlight` at a time; `then`: how long each caller computes afterwards. */
  async burst({ calls, inFlight, method, args, then = 0 }) {
    const begun = performance.now()
    const ends = {}
    let left = calls
    async function caller() {
      while (left > 0) {
        left--
        let end
        try {
          const action = await node.perform(method, args)
          end = action === undefined ? 'nothing' : 'done'
        } catch ({ code, outcome }) {
          end = `${code} ${outcome}`
        }
        ends[end] = (ends[end] ?? 0) + 1
        if (then > 0) spin(then)
      }
    }
    await Promise.all(Array.from({ length: Math.min(inFlight, calls) }, caller))
    return { ends, ms: performance.now() - begun }
  },
  /** For how long the application alone computes for so many calls. */
  alone({ calls, args: [milliseconds, bytes] = [0, 10], then = 0 }) {
    const begun = performance.now()
    let state = reduce(undefined, null)
    for (let i = 0; i < calls; i++) {
      state = reduce(state, methods.act(milliseconds, bytes))
      spin(subscriberMs + then)
    }
    return performance.now() - begun
  },
  /** Calls something small again and again until `stopProbing`, and tells how long each took. */
  probe() {
    isProbed = false
    probing = (async () => {
      const waits = []
      while (!isProbed) {
        const begun = performance.now()
        await node.perform('nothing', [0])
        waits.push(performance.now() - begun)
        await new Promise(resolve => setTimeout(resolve, 10))
      }
      return waits
    })()
  },
  stopProbing() {
    isProbed = true
    return probing
  },
  close: () => node.close()
}
let probing
let isProbed = false

process.on('message', async ({ verb, question, argument }) => {
  const reply = { question }
  try {
    reply.answer = await verbs[verb](argument)
  } catch ({ message, code }) {
    reply.error = { message, code }
  }
  if (process.connected) process.send(reply)
})

// The process that started this one has ended.
process.once('disconnect', () => process.exit())
