// app.js: run it in three terminals, with Redis on this machine, and type words into each
const { randomUUID } = require('node:crypto')
const conflux = require('conflux')

const node = conflux({
  id: randomUUID(),
  clusterSize: 3,
  channel: { name: 'redis' },
  methods: {
    append(thing) {
      return thing
    }
  },
  reduce(state = [], action) {
    return action ? [...state, action] : state
  }
})

node.subscribe(() => console.log(node.getState().join(' ')))
process.stdin.on('data', line => node.perform('append', [String(line).trim()]).catch(console.error))
