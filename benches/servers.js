/**
 * Runs the servers of one peer, each a process of this run with a directory of its own, and ends them with the
 * run. Called by the peers that have servers.
 */
'use strict'

const { spawn } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { setTimeout: delay } = require('node:timers/promises')

const { freePort } = require('../scripts/redis-server')
const { findProgram } = require('./packages')

const START_PATIENCE_MS = 20_000

class Servers {
  #folder = fs.mkdtempSync(path.join(os.tmpdir(), 'conflux-bench-'))
  #children = new Map()

  constructor(run) {
    run.defer(() => this.#end())
  }

  folder(id) {
    return path.join(this.#folder, id)
  }

  async ports(count) {
    return Promise.all(Array.from({ length: count }, freePort))
  }

  start(id, program, args) {
    const child = spawn(findProgram(program), args, { cwd: this.#folder, stdio: 'ignore' })
    // What can't be started is never ready, and that is reported.
    child.on('error', () => {})
    running.add(child)
    child.on('exit', () => running.delete(child))
    this.#children.set(id, child)
  }

  kill(id) {
    this.#children.get(id).kill('SIGKILL')
  }

  /** What `look` finds, once it finds something and throws no more. */
  async eventually(look) {
    let cause
    for (const deadline = Date.now() + START_PATIENCE_MS; Date.now() < deadline; await delay(50)) {
      try {
        const found = await look()
        if (found !== undefined) return found
      } catch (error) {
        cause = error
      }
    }
    throw new Error(`the servers were not ready within 20 s: ${cause?.message ?? 'no leader'}`, { cause })
  }

  async #end() {
    for (const child of this.#children.values()) {
      if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) continue
      const gone = new Promise(resolve => child.once('exit', resolve))
      child.kill('SIGKILL')
      await gone
    }
    fs.rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** Servers still running when this process ends are ended with it. */
const running = new Set()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

module.exports = { Servers }
