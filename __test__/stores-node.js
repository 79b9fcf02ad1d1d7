// One process of `Stores` (stores.js): opens many nodes, each of a cluster of its own, and does what its parent asks.

'use strict'

const process = require('node:process')
const { performance } = require('node:perf_hooks')

const conflux = require('..')

/** A state of counts, one for each process, so that what was acknowledged can be compared with what was applied. */
const counts = {
  methods: {
    count: origin => ({ type: 'count', origin })
  },
  reduce: (state, action) =>
    action === null ? {} : { ...state, [action.origin]: (state[action.origin] ?? 0) + 1 }
}

const nodes = new Map()
/** How many calls of each store were acknowledged. */
const acknowledged = new Map()
const broken = new Set()
let isLoading = false
let loads = []

const commands = {
  open({ names, id, options }) {
    for (const name of names) {
      const node = conflux({
        clusterSize: 3,
        ...options,
        id,
        channel: { ...options.channel, channelName: name },
        ...counts
      })
      node.on('warning', ({ code }) => {
        if (code === 'WARN_CONFLUX_CHANNEL_BROKEN') broken.add(name)
      })
      nodes.set(name, node)
      acknowledged.set(name, 0)
    }
    return Promise.all([...nodes.values()].map(node => node.ready()))
  },

  async call({ name, origin }) {
    await nodes.get(name).perform('count', [origin], { timeout: 10_000 })
    acknowledged.set(name, acknowledged.get(name) + 1)
  },

  /** One call after the other to one store; the sorted durations in milliseconds. */
  async sequential({ name, origin, seconds }) {
    const durations = []
    for (const end = performance.now() + seconds * 1000; performance.now() < end;) {
      const begin = performance.now()
      await nodes.get(name).perform('count', [origin])
      durations.push(performance.now() - begin)
    }
    durations.sort((a, b) => a - b)
    return { count: durations.length, p50: durations[durations.length >> 1] }
  },

  /** Calls every store, one call after the other in each, until it is stopped. */
  load({ origin }) {
    isLoading = true
    loads = [...nodes].map(([name, node]) => loadOne(name, node, origin))
  },

  /** Resolves once the calls that were under way have ended. */
  async stop() {
    isLoading = false
    await Promise.all(loads)
  },

  status: () => [...nodes].map(([name, node]) => ({ name, ...node.status(), state: node.getState() })),
  acknowledged: () => Object.fromEntries(acknowledged),
  broken: () => [...broken],
  cpu: () => process.cpuUsage(),

  close: ({ names }) =>
    Promise.all(
      names.map(name =>
        nodes
          .get(name)
          .close()
          .then(() => nodes.delete(name))
      )
    )
}

async function loadOne(name, node, origin) {
  while (isLoading) {
    await node.perform('count', [origin])
    acknowledged.set(name, acknowledged.get(name) + 1)
  }
}

process.on('message', async ({ number, command, details }) => {
  try {
    const result = await commands[command](details)
    process.send({ number, result })
  } catch (error) {
    process.send({ number, error: String(error.stack) })
  }
})
