/**
 * One process of `cluster.js`: a node that makes the calls that it is sent and reports their results.
 */
'use strict'

const { setTimeout: delay } = require('node:timers/promises')

const conflux = require('..')
const { joinRelay } = require('./channels')
const { reduce, withResult } = require('./ledger')

/** A silence between two commits that is shorter is not worth telling. */
const GAP_MS_MIN = 10

/** `origin` names this process; a node that comes back has the same id. A snapshot is made larger by `ballast` bytes. */
const { origin, ballast, ...options } = JSON.parse(process.argv[2])
const inflated = {
  serialize: state => ({ state, ballast: 'x'.repeat(ballast) }),
  deserialize: ({ state }) => state
}

/** A function is no JSON: a custom channel is that of a relay, whose `port` is given. Each send may block for so long. */
const { channel } = options
if (channel.name === 'custom')
  options.channel = { name: 'custom', join: slowed(joinRelay(channel.port), channel.slow) }

function slowed(join, milliseconds = 0) {
  if (milliseconds === 0) return join
  return (...args) => {
    const link = join(...args)
    const send = (to, frame) => {
      const end = performance.now() + milliseconds
      while (performance.now() < end);
      link.send(to, frame)
    }
    return { ...link, send }
  }
}

const node = conflux({
  ...options,
  ...(ballast === undefined ? {} : { snapshot: { ...options.snapshot, ...inflated } }),
  methods: { append: thing => ({ thing, place: node.getProvisionalState()?.count ?? 0 }) },
  reduce
})
process.send({ opened: { at: Date.now(), state: readState() } })

let leader = null
node.on('leader', id => {
  leader = id
  process.send({ leader })
})
node.on('warning', ({ code, message }) => process.send({ warning: { code, message } }))
node.on('error', ({ code, message }) => process.send({ fault: { code, message } }))
node.on('diverged', ({ code, message }) => process.send({ fault: { code, message } }))

/** Silences between two commits as this node sees them: `{ from, to }`, in milliseconds since the epoch. */
let gaps = []
let committedAt = Date.now()
node.subscribe(() => {
  const now = Date.now()
  if (now - committedAt >= GAP_MS_MIN) gaps.push({ from: committedAt, to: now })
  committedAt = now
})

let sequence = 0
let results
let outstanding = 0
let isLoading = false
let pause = 0
let whenIdle = () => {}

const verbs = {
  load: ({ inFlight, pause: given }) => {
    isLoading = true
    pause = given
    while (outstanding < inFlight) perform()
  },
  stop: () => {
    isLoading = false
    return new Promise(resolve => {
      whenIdle = resolve
      if (outstanding === 0) resolve()
    })
  },
  ready: () => node.ready(),
  /** The state in the moment in which it is ready. */
  readyState: async () => {
    await node.ready()
    return node.getState()
  },
  status: () => node.status(),
  state: () => node.getState(),
  /** The state, once it holds so many things. */
  ledger: ({ argument: count }) =>
    new Promise(resolve => {
      const check = () => node.getState().count >= count && (unsubscribe(), resolve(node.getState()))
      const unsubscribe = node.subscribe(check)
      check()
    }),
  /** The state that a read gives which must be current. */
  read: async () => {
    await node.sync()
    return node.getState()
  },
  /** Blocks the event loop, as an application that computes too long does. */
  block: ({ argument: milliseconds }) => {
    const end = Date.now() + milliseconds
    while (Date.now() < end);
  },
  setSecret: ({ argument: secret }) => node.setSecret(secret),
  transferLeadership: ({ argument: id }) => node.transferLeadership(id),
  /** What its calls were answered with. */
  results: () => results,
  gaps: () => {
    const taken = gaps
    gaps = []
    return taken
  },
  close
}

process.on('message', async ({ verb, question, argument, ...rest }) => {
  const reply = { question }
  try {
    reply.answer = await verbs[verb]({ argument, ...rest })
  } catch ({ message, code }) {
    reply.error = { message, code }
  }
  if (question && process.connected) process.send(reply)
})

// As an orchestrator ends a process.
process.once('SIGTERM', close)

// The process that asked has ended, unless this process ended first.
process.once('disconnect', leave)

async function close() {
  isLoading = false
  await node.close()
  process.off('disconnect', leave)
  if (process.connected) process.disconnect()
}

function leave() {
  process.exit()
}

/** The state, or the code of the error. */
function readState() {
  try {
    return node.getState()
  } catch ({ code }) {
    return code
  }
}

async function perform() {
  outstanding++
  const thing = `${origin}:${++sequence}`
  try {
    const action = await node.perform('append', [thing])
    results = withResult(results, action)
    acknowledge({ thing, at: Date.now(), leader })
  } catch ({ message, code, outcome }) {
    if (process.connected) process.send({ rejected: { thing, message, code, outcome } })
    // A node that has failed rejects at once: without a pause nothing else would ever be heard.
    await delay(1)
  }
  if (pause > 0) await delay(pause)
  outstanding--
  if (isLoading) perform()
  else if (outstanding === 0) whenIdle()
}

/** Acknowledgements of one turn of the event loop travel in one message. */
let batch = []
function acknowledge(entry) {
  if (batch.push(entry) > 1) return
  setImmediate(() => {
    if (process.connected) process.send({ acknowledged: batch })
    batch = []
  })
}
