/**
 * One node of the quickstart: a theatre's ticket office. It runs in a process of its own and does what
 * `quickstart.js` asks.
 */
'use strict'

const { createHash } = require('node:crypto')

const conflux = require('..')

const { name, channel, seats } = JSON.parse(process.argv[2])

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

process.on('message', async ({ question, verb, argument }) => {
  const answer = await verbs[verb](argument)
  process.send({ question, answer })
  // The line to the parent is all that keeps this process alive after close().
  if (verb === 'close') process.channel.unref()
})

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
