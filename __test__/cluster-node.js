/**
 * This file is one process of `cluster.js`: a node that performs as told and reports what it is told back.
 */
'use strict'

const conflux = require('..')

const options = JSON.parse(process.argv[2])

const node = conflux({
  ...options,
  methods: { append: thing => thing },
  // The state stays small however long the test; the whole history is in `log`.
  reduce: (state = { count: 0, last: null }, thing) =>
    thing ? { count: state.count + 1, last: thing } : state
})

/** Every action in the order in which it was applied here. */
const log = []
node.subscribe(() => log.push(node.getState().last))

let leader = null
node.on('leader', id => {
  leader = id
  process.send({ leader })
})
node.on('warning', ({ code, message }) => process.send({ warning: { code, message } }))

let sequence = 0
let outstanding = 0
let isLoading = false
let whenIdle = () => {}

const verbs = {
  load: ({ inFlight }) => {
    isLoading = true
    while (outstanding < inFlight) perform()
  },
  stop: () => {
    isLoading = false
    return new Promise(resolve => {
      whenIdle = resolve
      if (outstanding === 0) resolve()
    })
  },
  perform: () => node.perform('append', [nextThing()]),
  count: () => node.getState().count,
  log: ({ argument: length }) =>
    new Promise(resolve => {
      const check = () => log.length >= length && (unsubscribe(), resolve(log))
      const unsubscribe = node.subscribe(check)
      check()
    }),
  close: async () => {
    await node.close()
    process.disconnect()
  }
}

process.on('message', async message => {
  const answer = await verbs[message.verb](message)
  if (message.question) process.send({ question: message.question, answer })
})

function nextThing() {
  return `${options.id}:${++sequence}`
}

async function perform() {
  outstanding++
  const thing = nextThing()
  try {
    await node.perform('append', [thing])
    acknowledge({ thing, at: Date.now(), leader })
  } catch ({ message, code, outcome }) {
    process.send({ rejected: { thing, message, code, outcome } })
  }
  outstanding--
  if (isLoading) perform()
  else if (outstanding === 0) whenIdle()
}

/** Acknowledgements of one turn of the event loop travel in one message. */
let batch = []
function acknowledge(entry) {
  if (batch.push(entry) > 1) return
  setImmediate(() => {
    process.send({ acknowledged: batch })
    batch = []
  })
}
