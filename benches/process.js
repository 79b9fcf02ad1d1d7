/**
 * Starts a process of a benchmark and asks it things. Called by the peers and `life.js`; what runs in the
 * process is `host.js` or `life-node.js`.
 */
'use strict'

const { fork } = require('node:child_process')
const { randomUUID } = require('node:crypto')
const path = require('node:path')

class Process {
  #child
  #questions = new Map()
  #ended

  /** @param file of this folder; it gets the options as JSON in its first argument. */
  constructor(file, options, execArgv = []) {
    this.#child = fork(path.join(__dirname, file), [JSON.stringify(options)], { execArgv })
    this.#child.on('message', ({ question, answer, error }) => {
      const { resolve, reject } = this.#questions.get(question)
      this.#questions.delete(question)
      if (error) reject(new Error(error))
      else resolve(answer)
    })
    this.#child.on('exit', (code, signal) => {
      this.#ended = new Error(`a process of the benchmark ended (${signal ?? code})`)
      for (const { reject } of this.#questions.values()) reject(this.#ended)
      this.#questions.clear()
    })
  }

  ask(verb, argument) {
    if (this.#ended) return Promise.reject(this.#ended)
    const question = randomUUID()
    return new Promise((resolve, reject) => {
      this.#questions.set(question, { resolve, reject })
      // Who is killed in this moment does not answer, and `exit` says so.
      this.#child.send({ question, verb, argument }, () => {})
    })
  }

  kill() {
    this.#child.kill('SIGKILL')
  }
}

module.exports = { Process }
