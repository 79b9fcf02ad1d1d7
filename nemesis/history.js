/**
 * Reads what the processes of a run wrote, and joins it to one history.
 *
 * Called by `run.js` and by the checks' own tests; `recorder.js` says what the lines mean.
 */
'use strict'

const fs = require('node:fs')
const path = require('node:path')

/**
 * @returns `{ operations, states, reads }`: operations by id, with `invokedAt`, `method`, `args`, and of their end
 *   `acknowledgedAt`, `action` or `rejectedAt`, `outcome`, `code`, `seen`, `digest`, `value`; states per process, in
 *   order; reads.
 */
function readHistory(folder) {
  const files = fs.readdirSync(folder).filter(name => name.endsWith('.history'))
  return joinHistory(
    Object.fromEntries(files.map(name => [path.basename(name, '.history'), linesOf(path.join(folder, name))]))
  )
}

function linesOf(file) {
  const lines = fs.readFileSync(file, 'utf8').split('\n')
  // A process that is killed may leave half a line, and nothing after it.
  lines.pop()
  return lines.map(line => JSON.parse(line))
}

/** @param linesByOrigin what each process wrote. */
function joinHistory(linesByOrigin) {
  const operations = new Map()
  const states = new Map()
  const reads = []
  for (const [origin, lines] of Object.entries(linesByOrigin)) {
    let seen = []
    let members = 1
    states.set(origin, seen)
    for (const [kind, at, ...facts] of lines) {
      switch (kind) {
        case 'i': {
          const [id, method, args] = facts
          operations.set(id, { id, invokedAt: at, method, args, outcome: 'pending' })
          break
        }
        case 'a': {
          const [id, action] = facts
          Object.assign(operations.get(id), { acknowledgedAt: at, action, outcome: 'done' })
          break
        }
        case 'x': {
          const [id, outcome, code, seen, digest, value] = facts
          Object.assign(operations.get(id), { rejectedAt: at, outcome, code, seen, digest, value })
          break
        }
        case 's': {
          const [count, id, digest, earlier] = facts
          seen.push({ at, count, ids: [...(earlier ?? []), id], digest })
          break
        }
        case 'e': {
          // A node that was removed is another member from here on, and begins with what it is sent.
          const [code] = facts
          if (code === 'WARN_CONFLUX_STARTING_OVER') {
            seen = []
            states.set(`${origin}, member ${++members},`, seen)
          }
          break
        }
        case 'r': {
          const [endedAt, count, digest, key, values] = facts
          reads.push({ origin, invokedAt: at, endedAt, count, digest, key, values })
          break
        }
      }
    }
  }
  return { operations, states, reads }
}

module.exports = { joinHistory, readHistory }
