/**
 * One process of `coordinated.js`: a node whose wall clock can be set, and that reports what is committed.
 */
'use strict'

/** Milliseconds by which the wall clock of this process is wrong. conflux takes `Date.now` when it is loaded. */
let offset = 0
const trueTime = Date.now
Date.now = () => trueTime() + offset

const { clockOffset, reports, ...options } = JSON.parse(process.argv[2])
offset = clockOffset

const conflux = require('..')

/** A change copies one of them: an object of all firings would be copied for each. */
const SHARDS = 256

const node = conflux({
  ...options,
  initialState: { count: 0, fired: Array.from({ length: SHARDS }, () => ({})) },
  methods: {
    stamp(label) {
      return { type: 'stamp', label, now: this.now(), random: [this.random(), this.random()] }
    },
    /** Sets many timers in one action: `[name, at]` each. */
    arm(timers, options) {
      for (const [name, at] of timers) this.schedule(name, { at, method: 'fire', ...options })
    },
    fire() {
      return { type: 'fire', timer: this.timer, scheduledAt: this.scheduledAt, now: this.now() }
    }
  },
  reduce(state, action) {
    if (action.type !== 'fire') return { ...state, count: state.count + 1 }
    const key = `${action.timer} ${action.scheduledAt}`
    const shard = shardOf(action.timer)
    const [times] = state.fired[shard][key] ?? [0]
    const fired = state.fired.slice()
    fired[shard] = { ...fired[shard], [key]: [times + 1, action.scheduledAt, action.now] }
    return { count: state.count + 1, fired }
  }
})

function shardOf(name) {
  let hash = 0
  for (let i = 0; i < name.length; i++) hash = (Math.imul(hash, 31) + name.charCodeAt(i)) >>> 0
  return hash % SHARDS
}

node.on('warning', ({ code, message, ...facts }) => send({ warning: { code, message, ...facts } }))
node.on('error', ({ code, message }) => send({ fault: { code, message } }))
node.on('diverged', ({ code, message }) => send({ fault: { code, message } }))
if (reports) {
  node.subscribe(({ action, index, at }) => send({ commit: { action, index, at, seen: trueTime() } }))
}

const verbs = {
  setClock: milliseconds => {
    offset = milliseconds
  },
  count: () => node.getState().count,
  /** How many firings there were, and those that were applied more than once. */
  firings: () => {
    const entries = node.getState().fired.flatMap(Object.entries)
    return { count: entries.length, repeated: entries.filter(([, [times]]) => times > 1) }
  },
  /** Of each firing, when it was due and when the leader evaluated it, in the order of the latter. */
  times: () => {
    const firings = node.getState().fired.flatMap(Object.values)
    return firings.map(([, due, at]) => [due, at]).sort((one, other) => one[1] - other[1])
  }
}

process.on('message', async ({ question, verb, args }) => {
  const reply = { question }
  try {
    reply.answer = await (verbs[verb] ?? node[verb])(...args)
  } catch ({ message, code, outcome }) {
    reply.error = { message, code, outcome }
  }
  send(reply)
})

process.once('disconnect', () => process.exit())

function send(message) {
  if (process.connected) process.send(message)
}
