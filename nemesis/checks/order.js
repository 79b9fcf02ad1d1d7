/**
 * Compares the log, as the processes saw it, with every single observation: exactly, and in linear time.
 *
 * Called by `run.js`. The log needs no search: every process reports which action made which of its states, so the
 * order is known; it remains to verify that there is one order, and that nothing contradicts it.
 */
'use strict'

const { isDeepStrictEqual } = require('node:util')

const { abridge, methods, reduce } = require('../application')

/** More of them say nothing more. */
const ANOMALIES_MAX = 50

/** @param history of `history.js`. */
function checkOrder(history) {
  const anomalies = []
  const report = text => anomalies.length < ANOMALIES_MAX && anomalies.push(text)
  const log = orderOf(history, report)
  const positions = positionsOf(log, report)
  checkOutcomes(history, positions, report)
  checkRealTime(history, log, report)
  const observations = observationsOf(history)
  checkCurrency(history, log, observations, report)
  replay(history, log, observations, report)
  const of = outcome =>
    [...history.operations.values()].filter(operation => operation.outcome === outcome).length
  return {
    anomalies,
    numbers: {
      actions: log.length - 1,
      acknowledged: of('done'),
      refused: of('refused'),
      notApplied: of('not-applied'),
      unknown: of('unknown') + of('pending'),
      reads: history.reads.length
    }
  }
}

/** `log[n]` is the id of the nth action, on whichever processes: all must say the same. Their states never go back. */
function orderOf({ states }, report) {
  const log = [null]
  for (const [origin, seen] of states) {
    let last = 0
    for (const { count, ids } of seen) {
      // Listeners are called once after a replay or a snapshot, also of nothing new.
      if (count === 0) continue
      if (count < last) report(`${origin} went back from ${last} actions to ${count}`)
      last = count
      ids.forEach((id, i) => {
        const position = count - ids.length + 1 + i
        if (log[position] !== undefined && log[position] !== id) {
          report(`${origin} applied ${id} as action ${position}, another process ${log[position]}`)
        }
        log[position] ??= id
      })
    }
  }
  for (let count = 1; count < log.length; count++) {
    if (log[count] === undefined) report(`no node was seen to apply action ${count} of ${log.length - 1}`)
  }
  return log
}

function positionsOf(log, report) {
  const positions = new Map()
  for (let count = 1; count < log.length; count++) {
    if (positions.has(log[count]))
      report(`${log[count]} was applied twice: ${positions.get(log[count])} and ${count}`)
    positions.set(log[count], count)
  }
  return positions
}

/** Acknowledged ⊆ log; what was said not to have happened is not in it; everything in it was called for. */
function checkOutcomes({ operations }, positions, report) {
  for (const { id, outcome, code } of operations.values()) {
    const isInLog = positions.has(id)
    switch (outcome) {
      case 'done':
        if (!isInLog) report(`${id} was acknowledged and is lost`)
        break
      case 'refused':
      case 'not-applied':
        if (isInLog) report(`${id} was ${outcome} (${code}) and is action ${positions.get(id)}`)
        break
      case 'unknown':
      case 'pending':
        break
      default:
        report(`${id} ended with the outcome ${outcome} (${code})`)
    }
  }
  for (const id of positions.keys()) {
    if (!operations.has(id)) report(`${id} was applied, but no call made it`)
  }
}

/** What was acknowledged before something else was begun stands before it. */
function checkRealTime({ operations }, log, report) {
  let earliest = { acknowledgedAt: Infinity }
  for (let count = log.length - 1; count >= 1; count--) {
    const operation = operations.get(log[count])
    if (!operation) continue
    if (earliest.acknowledgedAt < operation.invokedAt) {
      report(`${earliest.id} was acknowledged before ${operation.id} was performed, and stands after it`)
    }
    if (operation.acknowledgedAt < earliest.acknowledgedAt) earliest = operation
  }
}

/** Every observation of what is current: a read, a refusal. */
function observationsOf({ operations, reads }) {
  const refusals = [...operations.values()]
    // Of an error that is too large only the message and the code come along.
    .filter(({ outcome, seen }) => outcome === 'refused' && typeof seen === 'number')
    .map(({ id, invokedAt, rejectedAt, seen, digest }) => ({
      what: `the refusal of ${id}`,
      invokedAt,
      endedAt: rejectedAt,
      count: seen,
      digest,
      refused: id
    }))
  const read = reads.map(read => ({ what: `a read of ${read.origin}`, ...read }))
  return [...refusals, ...read]
}

/** An observation knows everything that was known before it began, and nothing that was begun after it ended. */
function checkCurrency({ operations }, log, observations, report) {
  const ends = observations.map(({ what, endedAt, count }) => ({ at: endedAt, count, what }))
  for (let count = 1; count < log.length; count++) {
    const at = operations.get(log[count])?.acknowledgedAt
    if (at !== undefined) ends.push({ at, count, what: log[count] })
  }
  ends.sort((one, other) => one.at - other.at)
  const newestInvocations = [-Infinity]
  for (let count = 1; count < log.length; count++) {
    newestInvocations.push(
      Math.max(newestInvocations[count - 1], operations.get(log[count])?.invokedAt ?? -Infinity)
    )
  }

  let known = { count: 0 }
  let next = 0
  for (const one of observations.toSorted((one, other) => one.invokedAt - other.invokedAt)) {
    for (; next < ends.length && ends[next].at < one.invokedAt; next++) {
      if (ends[next].count > known.count) known = ends[next]
    }
    if (one.count < known.count) {
      report(`${one.what} saw ${one.count} actions, when ${known.what} had seen ${known.count}`)
    }
    if (newestInvocations[one.count] === undefined)
      report(`${one.what} saw ${one.count} actions: there are fewer`)
    else if (newestInvocations[one.count] > one.endedAt) report(`${one.what} saw an action of the future`)
  }
}

/** Decides and reduces everything again, and verifies that all nodes saw, and all calls returned, exactly that. */
function replay({ operations, states }, log, observations, report) {
  const observed = groupByCount(observations)
  const digests = [0]
  let state = reduce(undefined, null)
  for (let count = 0; count < log.length; count++) {
    if (count > 0) {
      const operation = operations.get(log[count])
      // Reported above.
      if (!operation) return
      const action = decide(operation, state)
      if (action instanceof Error) {
        report(
          `${operation.id} (${operation.method}) is action ${count}, where it is to be refused: ${action.code}`
        )
        return
      }
      if (operation.outcome === 'done' && !isDeepStrictEqual(operation.action, abridge(action))) {
        report(`${operation.id} was acknowledged as ${JSON.stringify(operation.action)}`)
      }
      state = reduce(state, action)
      digests.push(state.digest)
    }
    for (const observation of observed.get(count) ?? []) compare(observation, state, operations, report)
  }
  for (const [origin, seen] of states) {
    const wrong = seen.find(({ count, digest }) => digests[count] !== digest)
    if (wrong) report(`${origin} had another state after ${wrong.count} actions`)
  }
}

function compare({ what, digest, key, values, refused }, state, operations, report) {
  if (digest !== state.digest)
    report(`${what} saw another state than the log gives after ${state.count} actions`)
  if (refused) {
    const operation = operations.get(refused)
    const answer = decide(operation, state)
    const isRight =
      answer instanceof Error && answer.code === operation.code && answer.value === operation.value
    if (!isRight) report(`${what}, ${operation.code}, is wrong after ${state.count} actions`)
  } else if (key !== null) {
    const { lists, registers, locks, counters, queues } = state
    const right = [lists, registers, locks, counters, queues].map(things => things[key] ?? null)
    if (!isDeepStrictEqual(values, right))
      report(`${what} saw ${JSON.stringify(values)} after ${state.count} actions`)
  }
}

function decide({ id, method, args }, state) {
  return methods[method].call({ getProvisionalState: () => state }, id, ...args)
}

function groupByCount(observations) {
  const groups = new Map()
  for (const observation of observations) {
    if (!groups.has(observation.count)) groups.set(observation.count, [])
    groups.get(observation.count).push(observation)
  }
  return groups
}

module.exports = { checkOrder }
