/**
 * What the processes under test have in common: how they reach each other, what they report, and how they answer and end.
 *
 * Used by `process.js` and `lock-process.js`.
 */
'use strict'

const fs = require('node:fs')

/** This process ends by itself. */
let isEnding = false

/** The option `channel` of the node. */
function reachedBy({ passwordFile, ...channel }) {
  if (passwordFile === undefined) return channel
  // It changes while the process runs.
  return { ...channel, password: () => fs.promises.readFile(passwordFile, 'utf8') }
}

/** Records and reports what is not to happen. Returns the function that does it. */
function reportFaults(node, history) {
  const fault = (code, message) => {
    history.fault(code, message)
    if (process.connected) process.send({ fault: { code, message } })
  }
  node.on('diverged', ({ code, message }) => fault(code, message))
  // Its process is of no use any more; the run starts another one.
  node.on('error', ({ code, message }) => {
    fault(code, message)
    isEnding = true
    process.exitCode = 3
    process.disconnect()
  })
  process.on('unhandledRejection', reason => {
    fault('UNHANDLED_REJECTION', String(reason?.stack ?? reason))
    process.exit(4)
  })
  return fault
}

/** Answers the questions of `cluster.js`. At SIGTERM `close` is called, and the process ends. */
function answer(verbs, close) {
  process.on('message', async ({ verb, question, argument }) => {
    const reply = { question }
    try {
      reply.answer = await verbs[verb](argument)
    } catch ({ message, code }) {
      reply.error = { message, code }
    }
    if (process.connected) process.send(reply)
  })
  // The process that started this one is gone, and no other would end it.
  process.once('disconnect', () => isEnding || process.exit(5))
  process.once('SIGTERM', async () => {
    isEnding = true
    await close()
    if (process.connected) process.disconnect()
  })
}

module.exports = { answer, reachedBy, reportFaults }
