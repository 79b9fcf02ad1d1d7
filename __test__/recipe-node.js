/**
 * One process of `recipes-death.test.js`: a node with locks, presence, a registry and a cache, which runs the commands that it receives.
 */
'use strict'

const conflux = require('..')
const { compose, invalidation, locks, presence, registry } = require('../recipes')

const options = JSON.parse(process.argv[2])

const node = conflux({
  ...options,
  ...compose({ locks: locks(), online: presence(), services: registry(), cache: invalidation() })
})
const mutex = locks.client(node, 'locks')
const online = presence.client(node, 'online')
const services = registry.client(node, 'services')
const forgotten = []
const cache = invalidation.client(node, 'cache', tags => forgotten.push(tags))

const held = new Map()

const verbs = {
  ready: () => node.ready(),
  async acquire([key, options]) {
    const lock = await mutex.acquire(key, options)
    const at = Date.now()
    held.set(key, lock)
    lock.signal.addEventListener('abort', () =>
      tell({ lost: { key, at: Date.now(), code: lock.signal.reason.code } })
    )
    return { at, token: lock.token }
  },
  release: ([key]) => held.get(key).release(),
  isValid: ([key]) => held.get(key).isValidForDuration(0),
  waiting: ([key]) => mutex.waiting(key),
  enter: ([name, data]) => online.enter(name, data),
  list: () => online.list(),
  serve: ([service, data]) => services.serve(service, data),
  nodes: ([service]) => services.nodes(service),
  owner: ([key, service]) => services.owner(key, service),
  join: () => cache.join(),
  invalidate: ([tags, options]) => cache.invalidate(tags, options),
  forgotten: () => forgotten,
  status: () => node.status(),
  async close() {
    const at = Date.now()
    await node.close()
    return { at }
  }
}

process.on('message', async ({ question, verb, args }) => {
  try {
    tell({ question, answer: await verbs[verb](args) })
  } catch (error) {
    tell({ question, error: { message: error.message, code: error.code, outcome: error.outcome } })
  }
})

node.on('session', facts => tell({ session: facts }))

process.once('disconnect', () => process.exit())

function tell(message) {
  if (process.connected) process.send(message)
}
