/**
 * Starts examples/service.js as processes, as an orchestrator does, and sends them calls over connections that
 * stay open.
 *
 * Called by the tests of that example.
 */
'use strict'

const { spawn } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const http = require('node:http')
const path = require('node:path')
const readline = require('node:readline')

const { until } = require('./cluster')
const { root } = require('./project')

/** One process of the example, in a folder made by `makeProject`. */
class Service {
  static async start(t, folder, env) {
    const file = path.join(folder, 'service.js')
    fs.copyFileSync(path.join(root, 'examples/service.js'), file)
    const service = new Service()
    const child = spawn(process.execPath, [file], {
      cwd: folder,
      env: { ...process.env, PORT: '0', ...env, NODE_TEST_CONTEXT: undefined },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc']
    })
    t.after(() => child.kill('SIGKILL'))
    service.child = child
    /** What it sent to the process that started it. */
    service.messages = []
    child.on('message', message => service.messages.push(message))
    service.stderr = ''
    child.stderr.on('data', data => (service.stderr += data))
    const [line] = await once(readline.createInterface({ input: child.stdout }), 'line')
    service.port = Number(line.split(' ')[1])
    return service
  }

  get hasEnded() {
    return this.child.exitCode !== null || this.child.signalCode !== null
  }

  /** Resolves with the status and the body; rejects if the connection fails. */
  request(method, path, agent) {
    return new Promise((resolve, reject) => {
      const options = { host: '127.0.0.1', port: this.port, method, path, agent }
      const request = http.request(options, response => {
        let body = ''
        response.on('data', data => (body += data))
        response.on('end', () => resolve({ status: response.statusCode, body: JSON.parse(body) }))
        response.on('error', reject)
      })
      request.on('error', reject)
      request.end()
    })
  }

  async ready() {
    await until('the service to be ready', async () => (await this.request('GET', '/ready')).status === 200)
  }

  /** So many clients, each with a connection of its own that stays open, until it takes none any more. */
  async load(clients) {
    const agent = new http.Agent({ keepAlive: true, maxSockets: clients })
    const answers = []
    const client = async i => {
      for (let n = i; !this.hasEnded; n++) {
        const [method, path] = n % 3 === 0 ? ['GET', '/'] : ['POST', '/apples']
        try {
          answers.push(await this.request(method, path, agent))
        } catch (error) {
          if (error.code === 'ECONNREFUSED') return
          // The connection was closed while the request was in flight: what a client meets with any server that ends.
          if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') throw error
        }
      }
    }
    await Promise.all(Array.from({ length: clients }, (_, i) => client(i)))
    agent.destroy()
    return answers
  }
}

module.exports = { Service }
