// app.js: run it in three terminals, and type words into each
const { randomUUID } = require('node:crypto')
const conflux = require('conflux')

const node = conflux({
  id: randomUUID(),
  clusterSize: 3,
  channel: { name: 'local' }, // processes of this machine; 'tcp' between machines
  initialState: '',
  methods: {
    append(word) {
      return word
    }
  },
  reduce(text, word) {
    return `${text} ${word}`.trim()
  }
})

node.subscribe(() => console.log(node.getState()))
process.stdin.on('data', line => node.perform('append', [String(line).trim()]).catch(console.error))
