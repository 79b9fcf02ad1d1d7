// service.js: one process of a cluster as an orchestrator wants it: probes, an orderly end, an end when its node has failed
//
// With Redis on this machine, in three terminals (ID, PORT and DATA another in each):
//   ID=a PORT=8001 DATA=data/a node examples/service.js
//   curl -X POST localhost:8001/apples; curl localhost:8002
const { randomUUID } = require('node:crypto')
const { once } = require('node:events')
const http = require('node:http')
const { setTimeout: delay } = require('node:timers/promises')
const conflux = require('conflux')

const { ID = randomUUID(), CLUSTER_SIZE = '3', REDIS, DATA, PORT = '8000', DRAIN_MS = '500' } = process.env

const node = conflux({
  id: ID,
  clusterSize: Number(CLUSTER_SIZE),
  channel: { name: 'redis', connectionString: REDIS },
  storage: DATA ? { path: DATA } : undefined,
  version: '1', // another with every change of reducer or methods
  methods: {
    count(word) {
      return { type: 'COUNTED', word }
    }
  },
  reduce(counts = {}, action) {
    return action?.type === 'COUNTED' ? { ...counts, [action.word]: (counts[action.word] ?? 0) + 1 } : counts
  }
})

// It will not recover by itself: let the orchestrator start another process.
node.on('error', error => {
  console.error(error)
  process.exit(1)
})
for (const event of ['warning', 'diverged']) {
  node.on(event, ({ code, message }) => console.warn(code, message))
}

// Tools that start one process after the other wait for this message, as pm2 with `wait_ready` does.
node.ready().then(
  () => process.send?.('ready'),
  () => {} // it was closed, or has failed
)

let isEnding = false

const server = http.createServer(async ({ method, url }, response) => {
  const [status, body] = await answer(method, url).catch(toAnswer)
  if (isEnding) response.setHeader('connection', 'close')
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
})

async function answer(method, url) {
  const { state, diverged, caughtUp } = node.status()
  // A node that waits, for others or for Redis, is alive: to end its process would not help.
  if (url === '/live') return [state === 'failed' ? 503 : 200, state]
  // A node that still catches up would show an old state.
  const isReady = caughtUp && state === 'open' && diverged === null && !isEnding
  if (url === '/ready') return [isReady ? 200 : 503, node.status()]
  if (method === 'POST') return [200, await node.perform('count', [url.slice(1)], 5000)]
  await node.sync({ timeout: 5000 }) // without it: what this node knows, at once
  return [200, node.getState()]
}

/** A call that is refused or not applied had no effect: it can be repeated safely. */
function toAnswer({ code, message, outcome }) {
  return [outcome === 'refused' ? 409 : 503, { code, message, outcome }]
}

server.listen(Number(PORT), () => console.log(`port ${server.address().port}`))

// Two seconds at most with this DRAIN_MS; then nothing keeps the process alive.
async function end() {
  if (isEnding) return
  isEnding = true // `/ready` answers 503 from here on: the load balancer sends no more requests
  await delay(Number(DRAIN_MS))
  server.close()
  server.closeIdleConnections()
  await Promise.race([once(server, 'close'), delay(400, null, { ref: false })]) // running requests are answered
  await node.close({ timeout: 1000 })
  server.closeAllConnections()
  if (process.connected) process.disconnect() // from pm2, or another parent process
}

// Orchestrators send SIGTERM, Ctrl-C and pm2 SIGINT; Ctrl-Break of Windows is SIGBREAK.
for (const signal of ['SIGTERM', 'SIGINT', 'SIGBREAK']) process.on(signal, end)
