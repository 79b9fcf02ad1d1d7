/**
 * Gives the history of registers, locks and queues to a checker that knows nothing of conflux, its log or its
 * order.
 *
 * Called by `run.js`. The checker is `checker/main.rs`, around a library; where it is not built yet, it is.
 */
'use strict'

const { spawn } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')

const { cargo, root } = require('../../scripts/steps')

const PATIENCE_MS = 240_000

async function checkLinearizability(history, folder) {
  const file = path.join(folder, 'objects.jsonl')
  const operations = historyOfObjects(history)
  fs.writeFileSync(file, operations.map(operation => `${JSON.stringify(operation)}\n`).join(''))
  const { code, output } = await runChecker(file)
  const anomalies = code === 0 ? [] : output.trim().split('\n').filter(Boolean)
  if (code !== 0 && anomalies.length === 0)
    anomalies.push(`the checker of linearizability ended with ${code}`)
  return { anomalies, numbers: { checkedOperations: operations.length } }
}

/**
 * Of each method on an object: the object's kind, what it does if it is done, and what a refusal has seen. `change` gets
 * the arguments behind the key, and the action if there is one.
 */
const CALLS = {
  write: { kind: 'register', change: ([value]) => ({ write: value }) },
  cas: { kind: 'register', change: ([from, to]) => ({ cas: [from, to] }), refused: { MISMATCH: readOf } },
  // A lock is a register that holds its owner.
  acquire: { kind: 'lock', change: ([owner]) => ({ cas: [null, owner] }), refused: { TAKEN: readOf } },
  release: { kind: 'lock', change: ([owner]) => ({ cas: [owner, null] }), refused: { NOT_YOURS: readOf } },
  push: { kind: 'queue', change: ([value]) => ({ push: value }) },
  take: {
    kind: 'queue',
    change: (_, action) => ({ take: action?.value ?? null }),
    refused: { EMPTY: () => ({ take: null }) }
  }
}

function readOf(value) {
  return { read: value }
}

/** A call without an answer has `return: null`: it may have happened, at any time after its begin. */
function historyOfObjects({ operations, reads }) {
  const history = []
  for (const operation of operations.values()) {
    const {
      method,
      args,
      invokedAt: call,
      acknowledgedAt,
      rejectedAt,
      outcome,
      code,
      value,
      action
    } = operation
    if (!Object.hasOwn(CALLS, method)) continue
    const { kind, change, refused } = CALLS[method]
    const [key, ...rest] = args
    const object = `${kind} ${key}`
    if (outcome === 'done') history.push({ object, call, return: acknowledgedAt, ...change(rest, action) })
    else if (outcome === 'unknown' || outcome === 'pending')
      history.push({ object, call, return: null, ...change(rest) })
    // What was refused has seen what is there.
    else if (refused?.[code]) history.push({ object, call, return: rejectedAt, ...refused[code](value) })
  }
  for (const { key, invokedAt: call, endedAt, values } of reads) {
    if (key === null) continue
    const [, register, lock, , queue] = values
    history.push({ object: `register ${key}`, call, return: endedAt, read: register })
    history.push({ object: `lock ${key}`, call, return: endedAt, read: lock })
    history.push({ object: `queue ${key}`, call, return: endedAt, list: queue ?? [] })
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

module.exports = { buildChecker, checkLinearizability, historyOfObjects, runChecker }
