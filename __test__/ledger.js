/**
 * The state that the clusters of OS processes share: the ledger of what was applied, once or twice, and in
 * which order.
 *
 * Called by `cluster-node.js` as its reducer, and by `cluster.js` to audit. The ledger stay small however long a test is,
 * because the things of one origin are numbered, and come in the order of their calls.
 *
 * An action is a thing and the place that it was given when it was evaluated: how many were there before.
 */
'use strict'

/** `applied[origin]` lists ranges of numbers, flat: `[1, 5, 7, 9]` is 1 to 5 and 7 to 9. */
const EMPTY = { count: 0, digest: 0, applied: {}, results: {}, faults: [] }

/** More faults say nothing more, and would make every snapshot longer. */
const FAULTS_MAX = 20

function reduce(ledger = EMPTY, action) {
  if (action === null) return ledger
  const { thing, place } = action
  const [origin, number] = parse(thing)
  const ranges = ledger.applied[origin] ?? []
  const last = ranges.at(-1) ?? 0
  const faults = []
  if (number <= last) faults.push(`${thing} was applied ${includes(ranges, number) ? 'twice' : 'too late'}`)
  if (place !== ledger.count) faults.push(`${thing} was evaluated as ${place}, and is ${ledger.count}`)
  return {
    count: ledger.count + 1,
    digest: digest(ledger.digest, thing),
    applied: number > last ? { ...ledger.applied, [origin]: extend(ranges, number) } : ledger.applied,
    results: { ...ledger.results, [origin]: withResult(ledger.results[origin], action) },
    faults: faults.length === 0 ? ledger.faults : [...ledger.faults, ...faults].slice(-FAULTS_MAX)
  }
}

/** What an origin was given for its things so far, with one more: as the log has it, and as the origin heard it. */
function withResult(results = 0, { thing, place }) {
  return digest(results, `${thing}@${place}`)
}

/** Whether the thing is in these ledger. */
function contains(ledger, thing) {
  const [origin, number] = parse(thing)
  return includes(ledger.applied[origin] ?? [], number)
}

function extend(ranges, number) {
  return ranges.at(-1) === number - 1 ? [...ranges.slice(0, -1), number] : [...ranges, number, number]
}

function includes(ranges, number) {
  for (let i = 0; i < ranges.length; i += 2) {
    if (ranges[i] <= number && number <= ranges[i + 1]) return true
  }
  return false
}

/** `node-1#3:17` is the 17th thing of the process `node-1#3`. */
function parse(thing) {
  const colon = thing.lastIndexOf(':')
  return [thing.slice(0, colon), Number(thing.slice(colon + 1))]
}

/** FNV-1a, from one thing on to the next: other things, or the same in another order, give another digest. */
function digest(hash, text) {
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 16777619)
  return hash >>> 0
}

module.exports = { contains, reduce, withResult }
