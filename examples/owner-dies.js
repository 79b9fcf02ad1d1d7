// owner-dies.js: a lock passes to the next process when its owner is killed
//
// Starts two processes of itself: node examples/owner-dies.js. The first takes the lock, and is killed while it holds it.
const { fork } = require('node:child_process')
const { once } = require('node:events')
const { randomUUID } = require('node:crypto')
const conflux = require('conflux')
const { compose, locks } = require('conflux/recipes')

const TIMEOUT_MS = 1500

function open(id, channelName) {
  return conflux({
    id,
    clusterSize: 3,
    channel: { name: 'local', channelName },
    sessions: { timeout: TIMEOUT_MS },
    ...compose({ locks: locks() })
  })
}

async function worker(id, channelName) {
  const node = open(id, channelName)
  process.on('message', async message => {
    if (message === 'acquire') {
      const lock = await locks.client(node, 'locks').acquire('printer')
      process.send({ id, token: lock.token })
    } else {
      await node.close()
      process.disconnect()
    }
  })
}

async function main() {
  // This process is the third voter: two of three are enough.
  const channelName = `owner-dies-${randomUUID()}`
  const node = open('c', channelName)
  const [first, second] = ['a', 'b'].map(id => fork(__filename, [id, channelName]))

  first.send('acquire')
  const [grant] = await once(first, 'message')
  console.log(`${grant.id} holds the lock with token ${grant.token}`)

  const mutex = locks.client(node, 'locks')
  const isWaiting = new Promise(resolve =>
    node.watch(
      () => mutex.waiting('printer'),
      count => count === 1 && resolve()
    )
  )
  const passesOn = once(second, 'message')
  second.send('acquire')
  await isWaiting

  const killedAt = performance.now()
  first.kill('SIGKILL')
  const [next] = await passesOn
  const milliseconds = Math.round(performance.now() - killedAt)
  console.log(
    `${grant.id} was killed; ${next.id} holds the lock with token ${next.token} after ${milliseconds} ms`
  )
  if (next.token <= grant.token) process.exitCode = 1
  second.send('close')
  await once(second, 'exit')
  await node.close()
}

const [, , id, channelName] = process.argv
if (id === undefined) main()
else worker(id, channelName)
