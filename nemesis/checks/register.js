/**
 * Gives the history of the registers to a checker that knows nothing of conflux, its log or its order.
 *
 * Called by `run.js`. The checker is `checker/main.rs`, around a library; where it is not built yet, it is.
 */
'use strict'

const { spawn } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')

const { cargo, root } = require('../../scripts/steps')

const PATIENCE_MS = 240_000

async function checkRegister(history, folder) {
  const file = path.join(folder, 'register.jsonl')
  const operations = registerHistory(history)
  fs.writeFileSync(file, operations.map(operation => `${JSON.stringify(operation)}\n`).join(''))
  const { code, output } = await runChecker(file)
  const anomalies = code === 0 ? [] : output.trim().split('\n').filter(Boolean)
  if (code !== 0 && anomalies.length === 0) anomalies.push(`the register's checker ended with ${code}`)
  return { anomalies, numbers: { registerOperations: operations.length } }
}

/** Who has no answer has `return: null`: it may have happened, at any time after its call. */
function registerHistory({ operations, reads }) {
  const history = []
  for (const {
    method,
    args,
    invokedAt,
    acknowledgedAt,
    rejectedAt,
    outcome,
    code,
    value
  } of operations.values()) {
    const [key, first, second] = args
    const change = method === 'write' ? { write: first } : method === 'cas' ? { cas: [first, second] } : null
    if (change === null) continue
    if (outcome === 'done') history.push({ key, call: invokedAt, return: acknowledgedAt, ...change })
    else if (outcome === 'unknown' || outcome === 'pending')
      history.push({ key, call: invokedAt, return: null, ...change })
    // Somebody who compared saw what is there.
    else if (code === 'MISMATCH') history.push({ key, call: invokedAt, return: rejectedAt, read: value })
  }
  for (const { key, invokedAt, endedAt, values } of reads) {
    if (key !== null) history.push({ key, call: invokedAt, return: endedAt, read: values[1] })
  }
  return history
}

/** Builds it if there is anything to build: cargo knows. */
async function buildChecker() {
  await cargo(['build', '--quiet', '--locked', '--example', 'linearizability'], { quiet: true })
}

function runChecker(file) {
  return new Promise((resolve, reject) => {
    const child = spawn(checkerPath(), [file], { stdio: ['ignore', 'pipe', 'inherit'] })
    let output = ''
    child.stdout.setEncoding('utf8').on('data', text => (output += text))
    const limit = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS)
    child.once('error', reject)
    child.once('close', (code, signal) => {
      clearTimeout(limit)
      resolve({ code: code ?? signal, output })
    })
  })
}

function checkerPath() {
  const target = process.env.CARGO_TARGET_DIR ?? path.join(root, 'target')
  return path.join(target, 'debug', 'examples', 'linearizability')
}

module.exports = { buildChecker, checkRegister, registerHistory, runChecker }
