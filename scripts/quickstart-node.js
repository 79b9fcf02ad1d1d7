/**
 * One node of the quickstart: a theatre's ticket office. It runs in a worker thread or in a process of its
 * own, and does what `quickstart.js` asks.
 */
'use strict'

const { createHash } = require('node:crypto')
const { parentPort, workerData } = require('node:worker_threads')

const conflux = require('..')

const { name, channel, seats } = workerData ?? JSON.parse(process.argv[2])

const node = conflux({
  id: name,
  clusterSize: 3,
  channel,

  // Runs on the leader. Returns an action, or an Error if the wish makes no sense in the state it would be applied to.
  methods: {
    book(customer) {
      const sold = this.getProvisionalState().length
      return sold < seats ? { seat: sold + 1, customer } : new Error('sold out')
    }
  },

  // Runs on every node, with the same actions in the same order.
  reduce(bookings = [], action) {
    return action ? [...bookings, action] : bookings
  }
})

const verbs = {
  leader: () => ({ leader: node.status().leader }),
  book: customer => node.perform('book', [customer]).then(action => ({ action }), toAnswer),
  state: async count => {
    await until(() => node.getState().length >= count)
    const bookings = node.getState()
    const digest = createHash('sha256').update(JSON.stringify(bookings)).digest('hex').slice(0, 6)
    return { seats: bookings.map(({ seat }) => seat), digest }
  },
  close: () => node.close()
}

const port = parentPort ?? process
port.on('message', async ({ question, verb, argument }) => {
  const answer = await verbs[verb](argument)
  if (parentPort) parentPort.postMessage({ question, answer })
  else process.send({ question, answer })
  if (verb === 'close') hangUp()
})

/** The line to the parent is all that keeps this thread or process alive after close(). */
function hangUp() {
  port.removeAllListeners('message')
  if (parentPort) parentPort.close()
  else process.channel.unref()
}

function toAnswer({ message }) {
  return { error: message }
}

function until(holds) {
  return new Promise(resolve => {
    if (holds()) return resolve()
    const unsubscribe = node.subscribe(() => {
      if (!holds()) return
      unsubscribe()
      resolve()
    })
  })
}
