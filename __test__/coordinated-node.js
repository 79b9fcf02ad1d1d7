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

const node = conflux({
  ...options,
  initialState: { count: 0, fired: {} },
  methods: {
    stamp(label) {
      return { type: 'stamp', label, now: this.now(), random: [this.random(), this.random()] }
    },
    nothing() {
      return undefined
    }
  },
  reduce(state, action) {
    return { ...state, count: state.count + 1 }
  }
})

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
  count: () => node.getState().count
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
