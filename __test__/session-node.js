// One process of sessions.test.js: a node with sessions, which reports what its application sees of them.

'use strict'

const conflux = require('..')

const node = conflux({
  ...JSON.parse(process.argv[2]),
  initialState: { actions: [], owner: null },
  methods: {
    acquire() {
      if (this.getProvisionalState().owner !== null) return null
      return { type: 'acquired', owner: this.caller }
    }
  },
  reduce(state, action) {
    const actions = [...state.actions, action]
    if (action.type === 'acquired') return { actions, owner: action.owner }
    const hasEnded = action.type === '@@conflux/SESSION_ENDED' && action.session === state.owner?.session
    return { actions, owner: hasEnded ? null : state.owner }
  }
})
node.on('session', event => process.send({ event }))
node.subscribe(({ action, index }) => process.send({ commit: { action, index, at: Date.now() } }))

const verbs = {
  acquire: () => node.perform('acquire'),
  status: () => node.status(),
  state: () => node.getState(),
  close: () => node.close()
}

process.on('message', async ({ verb, question }) => {
  const reply = { question }
  try {
    reply.answer = await verbs[verb]()
  } catch ({ code, message }) {
    reply.error = { code, message }
  }
  process.send(reply)
})
process.once('disconnect', () => node.close())
