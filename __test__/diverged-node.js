/**
 * One process of `diverged-log.test.js`: a node whose reducer may begin to differ from that of the others.
 */
'use strict'

const conflux = require('..')

const options = JSON.parse(process.argv[2])
let differs = false
let divergences = 0

const node = conflux({
  ...options,
  methods: { put: text => ({ text }) },
  reduce(state, action) {
    if (action === null) return { count: 0, odd: 0 }
    return { count: state.count + 1, odd: differs ? state.odd + 1 : 0 }
  }
})
node.on('diverged', () => divergences++)

async function perform(count, inFlight) {
  let left = count
  const client = async () => {
    while (left-- > 0) await node.perform('put', ['x'.repeat(100)])
  }
  await Promise.all(Array.from({ length: inFlight }, client))
}

const verbs = {
  ready: () => node.ready(),
  lead: () => (node.status().role === 'leader' ? undefined : node.transferLeadership(options.id)),
  diverge: () => (differs = true),
  perform: ({ count, inFlight }) => perform(count, inFlight),
  report: () => ({ status: node.status(), divergences, rss: process.memoryUsage().rss })
}

process.on('message', async question => process.send((await verbs[question.what](question)) ?? {}))
process.once('disconnect', () => process.exit())
