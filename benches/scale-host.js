/**
 * One process of `scale.js`: some nodes of one store or of many, which do what they are asked.
 */
'use strict'

const { monitorEventLoopDelay } = require('node:perf_hooks')
const { setTimeout: delay } = require('node:timers/promises')

const conflux = require('..')

const ROW_BYTES = 100
const PAGE_ROWS = 1000
/** So many nodes of a process start at once. */
const STARTS = 20

/** `nodes`: of each node its `id`, `clusterSize`, `channel` and `snapshot`. */
const { nodes: wanted, reducerMicros = 0, subscribers = 0 } = JSON.parse(process.argv[2])

/** By the name of the channel and the id. */
const nodes = new Map()
/** Enabled when it is wanted: its timer takes some percent of a core. */
const blocks = monitorEventLoopDelay({ resolution: 1 })

function reduce(state = { count: 0, last: null, pages: {} }, action) {
  if (action === null) return state
  if (action.bytes !== undefined) return { ...state, pages: pagesOf(action.bytes) }
  for (const end = performance.now() + reducerMicros / 1000; reducerMicros > 0 && performance.now() < end;);
  const name = `p${action.n % Math.max(1, Object.keys(state.pages).length)}`
  const page = state.pages[name]
  const pages = page ? { ...state.pages, [name]: { ...page, r0: { n: action.n } } } : state.pages
  return { ...state, count: state.count + 1, last: action, pages }
}

/** Rows of `ROW_BYTES` as JSON, so many that they take `bytes`. */
function pagesOf(bytes) {
  const rows = Math.round(bytes / ROW_BYTES)
  const pages = {}
  for (let first = 0; first < rows; first += PAGE_ROWS) {
    const page = {}
    for (let row = first; row < Math.min(rows, first + PAGE_ROWS); row++) {
      page[`r${row - first}`] = { n: row, text: `${row}`.padEnd(ROW_BYTES - 32, 'x') }
    }
    pages[`p${first / PAGE_ROWS}`] = page
  }
  return pages
}

function open({ id, ...options }) {
  const node = conflux({
    id,
    ...options,
    methods: { append: thing => thing, fill: bytes => ({ bytes }) },
    reduce
  })
  for (let i = 0; i < subscribers; i++) node.subscribe(() => {})
  nodes.set(`${options.channel.channelName} ${id}`, node)
  return node.ready()
}

const find = ({ channelName, id }) => nodes.get(`${channelName} ${id}`)

const verbs = {
  open: async () => {
    for (let first = 0; first < wanted.length; first += STARTS) {
      await Promise.all(wanted.slice(first, first + STARTS).map(open))
    }
  },

  /** Resolves when the node has all that was committed at the call. */
  sync: async node => {
    await find(node).sync()
    return find(node).getState().count
  },

  status: node => {
    const { role, members } = find(node).status()
    return { isLeader: role === 'leader', members: members.length }
  },

  lead: node => find(node).transferLeadership(node.id),

  fill: ({ bytes, ...node }) => find(node).perform('fill', [bytes]),

  /** `inFlight` calls outstanding for so many seconds: how many a second, what they cost, and how long they took. */
  burst: async ({ inFlight, seconds, payloadBytes = 0, ...where }) => {
    const node = find(where)
    const payload = 'x'.repeat(payloadBytes)
    const latencies = []
    let isCounting = false
    let isOver = false
    let number = 0
    const keepOne = async () => {
      while (!isOver) {
        const start = performance.now()
        await node.perform('append', [{ n: ++number, payload }])
        if (isCounting) latencies.push(performance.now() - start)
      }
    }
    const all = Array.from({ length: inFlight }, keepOne)
    await delay(seconds * 500)
    isCounting = true
    const [start, cpu] = [performance.now(), process.cpuUsage()]
    await delay(seconds * 1000)
    isCounting = false
    const took = (performance.now() - start) / 1000
    const { user, system } = process.cpuUsage(cpu)
    isOver = true
    await Promise.all(all)
    const count = latencies.length
    return { perSecond: count / took, cpuMicros: (user + system) / count, ...quantiles(latencies) }
  },

  /** One call after the other, `pauseMs` apart. */
  trickle: async ({ seconds, pauseMs, ...where }) => {
    const node = find(where)
    const latencies = []
    const end = performance.now() + seconds * 1000
    for (let number = 0; performance.now() < end; await delay(pauseMs)) {
      const start = performance.now()
      await node.perform('append', [{ n: ++number }])
      latencies.push(performance.now() - start)
    }
    return quantiles(latencies)
  },

  /** Blocks are counted from here on. */
  countBlocks: () => void blocks.enable(),

  /** Milliseconds for which the event loop was blocked at most. */
  longestBlock: () => Math.max(0, blocks.max / 1e6 - 1),

  cpuMicroseconds: () => {
    const { user, system } = process.cpuUsage()
    return user + system
  },

  count: node => find(node).getState().count
}

function quantiles(samples) {
  samples.sort((a, b) => a - b)
  const at = p => samples[Math.min(samples.length - 1, Math.floor(samples.length * p))]
  return { p50: at(0.5), p99: at(0.99) }
}

process.on('message', async ({ question, verb, argument }) => {
  try {
    process.send({ question, answer: await verbs[verb](argument ?? {}) })
  } catch (error) {
    process.send({ question, error: `${error.stack}` })
  }
})
// Without the process that asks there is nothing left to do.
process.on('disconnect', () => process.exit())
