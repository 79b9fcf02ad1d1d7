/**
 * Processes on the channel `local`, each a node with a large state (large-state-node.js), for `large-states.test.js`.
 */
'use strict'

const { fork } = require('node:child_process')
const { randomUUID } = require('node:crypto')
const { once } = require('node:events')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')

class LargeStateCluster {
  nodes = new Map()
  warnings = []
  #options
  #execArgv
  #folder = fs.mkdtempSync(path.join(os.tmpdir(), 'conflux-large-'))
  #channel = { name: 'local', channelName: `test-${randomUUID()}` }

  /** @param options of all nodes; `shape` is one of large-state-node.js. */
  constructor(options, execArgv = []) {
    this.#options = options
    this.#execArgv = execArgv
  }

  /** Starts the process of this id, which keeps its directory. */
  start(id) {
    const options = {
      ...this.#options,
      id,
      channel: this.#channel,
      storage: { path: path.join(this.#folder, id) }
    }
    const child = fork(path.join(__dirname, 'large-state-node.js'), [JSON.stringify(options)], {
      execArgv: this.#execArgv
    })
    const pending = new Map()
    child.on('message', ({ ticket, result, failure, warning, fault }) => {
      if (ticket === undefined) {
        this.warnings.push(`${id}: ${warning ?? fault}`)
        return
      }
      const { resolve, reject } = pending.get(ticket)
      pending.delete(ticket)
      if (failure === undefined) resolve(result)
      else reject(new Error(`${id}: ${failure}`))
    })
    child.on('exit', code => {
      for (const { reject } of pending.values()) reject(new Error(`${id} ended with ${code}`))
    })
    let tickets = 0
    const ask = (command, given = {}) =>
      new Promise((resolve, reject) => {
        pending.set(++tickets, { resolve, reject })
        child.send({ ticket: tickets, command, ...given })
      })
    const node = { id, child, ask }
    this.nodes.set(id, node)
    return node
  }

  /** Closes the node, and ends its process. */
  async stop(id) {
    const { child, ask } = this.nodes.get(id)
    this.nodes.delete(id)
    await ask('close')
    const ended = once(child, 'exit')
    child.disconnect()
    await ended
  }

  /** The answers of all nodes. */
  all(command, given) {
    return Promise.all([...this.nodes.values()].map(({ ask }) => ask(command, given)))
  }

  end() {
    for (const { child } of this.nodes.values()) child.kill()
    fs.rmSync(this.#folder, { recursive: true, force: true })
  }
}

module.exports = { LargeStateCluster }
