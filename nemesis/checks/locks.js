/**
 * Compares the histories of all processes with what locks and sessions promise.
 *
 * Called by `run.js`, through `workloads.js`. Each process has checked the log itself (`lock-watch.js`); here is what only all
 * of them together show: no two clients had a lock of one key at a time, unless the lock of the former was over; each token
 * was given once; and no session ended of which a majority heard the member.
 */
'use strict'

const fs = require('node:fs')
const path = require('node:path')
const readline = require('node:readline')

/** More of them say nothing more. */
const ANOMALIES_MAX = 50

/** Between the end of a fault and the end of a session that it caused: detection, an election, a busy machine. */
const SLACK_MS = 3000

/**
 * @param strikes with `from` and `to` in microseconds, and the facts of the faults.
 * @param finals what each process said at the end: `{ count, left }`.
 * @returns `{ anomalies, numbers }`.
 */
async function checkLocks({ folder, plan, strikes, finals, ids, sessionTimeoutMs }) {
  const history = await readLocks(folder)
  const { channel } = plan
  return compareLocks({ ...history, strikes, finals, ids, channel, sessionTimeoutMs })
}

/** Line by line: a history of a million grants is long. */
async function readLocks(folder) {
  const grants = new Map()
  const ends = []
  const repeated = []
  for (const name of fs.readdirSync(folder).filter(name => name.endsWith('.history'))) {
    const origin = path.basename(name, '.history')
    for await (const line of readline.createInterface({
      input: fs.createReadStream(path.join(folder, name))
    })) {
      // The last line of a process that was killed may be cut.
      if (!line.endsWith(']')) continue
      addLine({ grants, ends, repeated }, origin, JSON.parse(line))
    }
  }
  return { grants, ends, repeated }
}

function addLine({ grants, ends, repeated }, origin, [kind, at, ...facts]) {
  switch (kind) {
    case 'g': {
      const [key, token, session, reliableUntil] = facts
      if (grants.has(token)) repeated.push({ token, origins: [grants.get(token).origin, origin] })
      grants.set(token, {
        origin,
        key,
        token,
        session,
        reliableUntil,
        from: at,
        releasedAt: null,
        isValid: true
      })
      break
    }
    case 'q': {
      const [token, isValid] = facts
      Object.assign(grants.get(token), { releasedAt: at, isValid })
      break
    }
    case 'd': {
      const [id, session, reason] = facts
      ends.push({ at, id, session, reason })
      break
    }
  }
}

function compareLocks({ grants, ends, repeated, strikes, finals, ids, channel, sessionTimeoutMs }) {
  const anomalies = []
  const report = text => anomalies.length < ANOMALIES_MAX && anomalies.push(text)
  for (const { token, origins } of repeated)
    report(`the token ${token} was given twice, to ${origins.join(' and ')}`)
  const endOf = firstEnds(ends)
  checkHolders(grants, endOf, report)
  const silent = [...endOf.values()].filter(({ reason }) => reason === 'silent')
  for (const end of silent) {
    if (!isExplained(end, { strikes, ids, channel, sessionTimeoutMs })) {
      report(
        `session ${end.session} of ${end.id} ended at ${end.at} for silence, and no fault kept the member from being heard`
      )
    }
  }
  for (const { count, left } of finals) {
    if (left.length > 0)
      report(`after ${count} grants, when all clients had ended, there were still ${left.join(', ')}`)
  }
  return {
    anomalies,
    numbers: {
      grants: Math.max(0, ...finals.map(({ count }) => count)),
      grantsSeen: grants.size,
      sessionsEnded: endOf.size,
      ofThemSilent: silent.length,
      lostWhileHeld: [...grants.values()].filter(({ isValid }) => !isValid).length
    }
  }
}

/** By session: when the first process applied its end. */
function firstEnds(ends) {
  const first = new Map()
  for (const end of ends) {
    if (!(first.get(end.session)?.at <= end.at)) first.set(end.session, end)
  }
  return first
}

/** Of one key, each grant begins after the former one has ended. */
function checkHolders(grants, endOf, report) {
  const last = new Map()
  for (const grant of [...grants.values()].sort((a, b) => a.token - b.token)) {
    const former = last.get(grant.key)
    last.set(grant.key, grant)
    if (!grant.isValid && grant.session !== null && !endOf.has(grant.session)) {
      report(
        `${grant.origin} lost "${grant.key}" with the token ${grant.token}, and its session ${grant.session} had not ended`
      )
    }
    if (former !== undefined && grant.from < heldUntil(former, endOf)) {
      report(
        `${grant.origin} had "${grant.key}" with the token ${grant.token} before ${former.origin} gave it up, with the token ${former.token}`
      )
    }
  }
}

/** Until when no other client may have the lock. A lock of a process that was killed ends with its session. */
function heldUntil({ releasedAt, reliableUntil, session }, endOf) {
  const ended = session === null ? reliableUntil : (endOf.get(session)?.at ?? Infinity)
  return Math.min(ended, releasedAt ?? Infinity)
}

/** Whether a fault kept a majority from hearing the member, or the cluster from working. */
function isExplained({ at, id }, { strikes, ids, channel, sessionTimeoutMs }) {
  const slack = (sessionTimeoutMs + SLACK_MS) * 1000
  return strikes.some(
    ({ from, to, facts }) => from <= at && at <= to + slack && concerns(facts, id, ids, channel)
  )
}

function concerns(facts, id, ids, channel) {
  if (facts?.directions !== undefined && facts.leaderIn !== undefined)
    return isUnheard(facts.directions, id, ids, channel)
  const target = facts?.target ?? facts?.removed ?? facts?.targets
  if (Array.isArray(target)) return target.includes(id)
  return typeof target === 'string' ? target === id : true
}

/** Over Redis a process that cannot reach one other is cut off from all. */
function isUnheard(directions, id, ids, channel) {
  const deaf = directions.filter(([from]) => from === id).length
  return channel === 'redis' ? deaf > 0 : ids.length - deaf < Math.floor(ids.length / 2) + 1
}

module.exports = { addLine, checkLocks, compareLocks }
