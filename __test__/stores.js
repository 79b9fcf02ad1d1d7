// Runs many stores in each of several processes over one Redis, and measures what they cost.
//
// Called by many-stores.test.js and by `npm run bench`; `node __test__/stores.js 200` prints the figures.

'use strict'

const { fork } = require('node:child_process')
const { randomUUID } = require('node:crypto')
const { once } = require('node:events')
const net = require('node:net')
const path = require('node:path')
const process = require('node:process')
const { setTimeout: sleep } = require('node:timers/promises')

class StoresProcess {
  #child
  #waiting = new Map()
  #number = 0

  constructor(id) {
    this.id = id
    this.#child = fork(path.join(__dirname, 'stores-node.js'))
    this.#child.on('message', ({ number, result, error }) => {
      const { resolve, reject } = this.#waiting.get(number)
      this.#waiting.delete(number)
      if (error === undefined) resolve(result)
      else reject(new Error(`process ${id}: ${error}`))
    })
  }

  /** Has the process run a command of stores-node.js. */
  ask(command, details = {}) {
    const number = this.#number++
    return new Promise((resolve, reject) => {
      this.#waiting.set(number, { resolve, reject })
      this.#child.send({ number, command, details })
    })
  }

  async kill() {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const ended = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await ended
  }
}

class Stores {
  /** `count` stores in each of `size` processes; each store is a cluster of its own. */
  constructor({ port, count, size = 3, options = {} }) {
    this.port = port
    this.options = { ...options, channel: { name: 'redis', port, ...options.channel } }
    this.names = Array.from({ length: count }, (_, i) => `store-${i}-${randomUUID()}`)
    this.processes = Array.from({ length: size }, (_, i) => new StoresProcess(`process-${i}`))
  }

  /** Resolves once every store is ready in every process. */
  open() {
    return Promise.all(
      this.processes.map(one => one.ask('open', { names: this.names, id: one.id, options: this.options }))
    )
  }

  /** What the processes and the server do meanwhile: CPU in cores, the rest per second. */
  async measure(seconds) {
    const look = async () => ({
      at: performance.now(),
      cpu: await Promise.all(this.processes.map(one => one.ask('cpu'))),
      redis: await info(this.port)
    })
    const before = await look()
    await sleep(seconds * 1000)
    const after = await look()
    const time = (after.at - before.at) / 1000
    const microseconds = ({ user, system }) => user + system
    const rate = field => Math.round((after.redis[field] - before.redis[field]) / time)
    return {
      processes: after.cpu.map((cpu, i) => (microseconds(cpu) - microseconds(before.cpu[i])) / 1e6 / time),
      redis:
        ['used_cpu_user', 'used_cpu_sys'].reduce(
          (sum, field) => sum + after.redis[field] - before.redis[field],
          0
        ) / time,
      connections: after.redis.connected_clients - 1,
      commands: rate('total_commands_processed'),
      publishes: rate('publishes'),
      bytes: rate('total_net_input_bytes')
    }
  }

  kill() {
    return Promise.all(this.processes.map(one => one.kill()))
  }
}

/** The numbers in what Redis says of itself. */
async function info(port) {
  const socket = net.connect(port, '127.0.0.1')
  socket.write('INFO everything\r\n')
  let text = ''
  for await (const data of socket) {
    text += data
    const length = /^\$(\d+)\r\n/.exec(text)
    if (length && text.length >= length[0].length + Number(length[1])) break
  }
  socket.destroy()
  const fields = text.split('\r\n').map(line => line.split(':'))
  const numbers = Object.fromEntries(fields.map(([name, value]) => [name, Number.parseFloat(value)]))
  const publish = /^cmdstat_publish:calls=(\d+)/m.exec(text)
  return { ...numbers, publishes: publish ? Number(publish[1]) : 0 }
}

async function main(count) {
  const { startRedisServer } = require('../scripts/redis-server')
  const redis = await startRedisServer()
  const stores = new Stores({ port: redis.port, count })
  try {
    const begin = performance.now()
    await stores.open()
    console.log('ready after', Math.round(performance.now() - begin), 'ms')
    await sleep(5000)
    console.log(await stores.measure(5))
    for (const one of stores.processes) {
      const name = stores.names[0]
      console.log(one.id, await one.ask('sequential', { name, origin: one.id, seconds: 1 }))
    }
  } finally {
    await stores.kill()
    await redis.kill()
  }
}

if (require.main === module) main(Number(process.argv[2] ?? 20))

module.exports = { Stores }
