// Decides when a timer fires: checks the options of the application, and computes the times.
//
// Used by timers.js, where an application sets a timer, and by evaluations.js and timer-changes.js on the leader:
// only the leader computes times, so nodes need not agree about time zones.

'use strict'

const { Buffer, Date, Intl, wallClock } = require('./environment')
const errors = require('./errors')
const { DEPTH_MAX, encode } = require('./json')
const { kindOf } = require('./kind')
const { choice } = require('./suggestion')

const NAME_BYTES_MAX = 256
const METHOD_LENGTH_MAX = 1024
const ARGS_BYTES_MAX = 64 * 1024
const CRON_LENGTH_MAX = 256

/** Each firing is an entry of the log. */
const EVERY_MS_MIN = 10
const EVERY_MS_MAX = 100 * 366 * 86_400_000

/** The last moment that a `Date` has. */
const TIME_MAX = 8.64e15

/** With `missed: 'none'`, a firing that would be later than this is skipped. A change of leaders takes less. */
const LATE_MS = 5000

/** The time between the moment that a caller computes and the call. */
const CALL_MS = 1000

/** The parsed expressions that were used last. */
const PARSED_MAX = 1000

const OPTIONS = ['at', 'every', 'cron', 'timeZone', 'method', 'args', 'missed']
const MISSED = ['once', 'all', 'none']

const invalid = text => errors.invalidCall(`schedule: ${text}`)

/** Throws if it is not a valid name. */
function checkName(name, what = 'schedule') {
  const isName = typeof name === 'string' && name !== '' && name.isWellFormed()
  if (!isName || Buffer.byteLength(name) > NAME_BYTES_MAX) {
    throw errors.invalidCall(
      `${what}: the name of a timer must be a non-empty string of at most ${NAME_BYTES_MAX} bytes`
    )
  }
}

/**
 * The checked options of a timer, as JSON: `at` is a number. Throws an error that says what is wrong.
 */
function checkTimer(name, options) {
  checkName(name)
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw invalid(
      `the options must be an object such as { every: 60000, method: "clean" }, got ${kindOf(options)}`
    )
  }
  for (const key of Object.keys(options)) {
    if (!OPTIONS.includes(key)) throw invalid(`the option "${key}" is unknown${choice(key, OPTIONS)}`)
  }
  const { method, args = [], missed = 'once' } = options
  if (
    typeof method !== 'string' ||
    method === '' ||
    method.length > METHOD_LENGTH_MAX ||
    !method.isWellFormed()
  )
    throw invalid(`"method" must be the name of a method, got ${kindOf(method)}`)
  if (!Array.isArray(args)) throw invalid(`"args" must be an array, got ${kindOf(args)}`)
  const text = encode(args, 'args', DEPTH_MAX + 1)
  if (text === undefined || text[0] !== '[') throw errors.notJson('args', 'its toJSON returns no array')
  if (Buffer.byteLength(text) > ARGS_BYTES_MAX) {
    throw errors.tooLarge('args', Buffer.byteLength(text), ARGS_BYTES_MAX)
  }
  if (!MISSED.includes(missed)) throw invalid(`"missed" must be ${MISSED.map(m => `"${m}"`).join(', ')}`)
  return { ...checkTimes(options), method, args: JSON.parse(text), missed }
}

function checkTimes(options) {
  const given = ['at', 'every', 'cron'].filter(key => options[key] !== undefined && options[key] !== null)
  if (given.length !== 1) throw invalid('exactly one of "at", "every" and "cron" is needed')
  const { every, cron, timeZone } = options
  if (timeZone !== undefined && timeZone !== null && cron === undefined)
    throw invalid('"timeZone" belongs to "cron"')
  if (given[0] === 'at') return { at: checkTime(options.at) }
  if (given[0] === 'every') {
    if (!Number.isInteger(every) || every < EVERY_MS_MIN || every > EVERY_MS_MAX) {
      throw invalid(
        `"every" must be milliseconds: an integer from ${EVERY_MS_MIN} to ${EVERY_MS_MAX}, got ${String(every)}`
      )
    }
    return { every }
  }
  parse(cron, timeZone ?? 'UTC')
  return { cron, timeZone: timeZone ?? 'UTC' }
}

function checkTime(at) {
  const time = typeof at === 'string' ? Date.parse(at) : at instanceof Date ? at.getTime() : at
  if (typeof time !== 'number' || !(time >= 0 && time <= TIME_MAX)) {
    throw invalid(
      `"at" must be a Date, a string in ISO 8601 or milliseconds since 1970, got ${
        typeof at === 'string' ? JSON.stringify(at.slice(0, 64)) : String(at)
      }`
    )
  }
  return Math.ceil(time)
}

const parsed = new Map()

/** Throws where it is no cron expression. */
function parse(cron, timeZone) {
  // A date is no expression, although the parser takes it for one.
  if (
    typeof cron !== 'string' ||
    cron.length > CRON_LENGTH_MAX ||
    !/^\s*(@\w+\s*$|\S+(\s+\S+){4,6}\s*$)/.test(cron)
  ) {
    throw invalid(`"cron" must be an expression of 5 to 7 fields, such as "0 9 * * 1-5", got ${shown(cron)}`)
  }
  const key = `${timeZone} ${cron}`
  let job = parsed.get(key)
  if (job === undefined) {
    checkTimeZone(timeZone)
    // Only here: it needs globals that a process may have replaced.
    const { Cron } = require('croner')
    try {
      job = new Cron(cron, { timezone: timeZone, paused: true })
    } catch (error) {
      throw invalid(`"cron" ${shown(cron)}: ${errors.messageOf(error)}`)
    }
    if (parsed.size >= PARSED_MAX) parsed.delete(parsed.keys().next().value)
    parsed.set(key, job)
  }
  return job
}

function checkTimeZone(timeZone) {
  try {
    if (typeof timeZone !== 'string') throw new Error('no string')
    new Intl.DateTimeFormat('en', { timeZone })
  } catch {
    throw invalid(
      `"timeZone" must be one of the IANA database, such as "Europe/Berlin", got ${shown(timeZone)}`
    )
  }
}

const shown = value => (typeof value === 'string' ? JSON.stringify(value.slice(0, 64)) : String(value))

/**
 * The first time of a timer, and the rule for the next ones.
 *
 * @param now the time of the cluster.
 * @param lateMax an `at` may be this much earlier.
 */
function begin({ at, every, cron, timeZone, missed }, now, lateMax) {
  if (at !== undefined) {
    if (at < now - lateMax) {
      throw invalid(
        `"at" is ${new Date(at).toISOString()}, which is past: it is ${new Date(now).toISOString()}`
      )
    }
    return { due: at, rule: { at, missed } }
  }
  const rule = cron === undefined ? { every, start: now, missed } : { cron, timeZone, missed }
  const due = timeAfter(rule, now)
  if (due === null) throw invalid(`"cron" ${shown(cron)} names no time to come`)
  return { due, rule }
}

/** The first time of a rule behind another one, or null. */
function timeAfter({ every, start, cron, timeZone }, time) {
  if (cron !== undefined) return parse(cron, timeZone).nextRun(new Date(time))?.getTime() ?? null
  if (every === undefined) return null
  const next = start + (Math.floor((time - start) / every) + 1) * every
  return next <= TIME_MAX ? next : null
}

/**
 * What a timer that was due at this time does now.
 *
 * @returns `{ isSkipped, next }`: whether it is too late, and when it fires next, or null.
 */
function advance(rule, due, now) {
  switch (rule.missed) {
    case 'all':
      return { isSkipped: false, next: timeAfter(rule, due) }
    case 'none':
      if (now - due > LATE_MS) return { isSkipped: true, next: timeAfter(rule, now - LATE_MS) }
      return { isSkipped: false, next: timeAfter(rule, Math.max(due, now)) }
    default:
      return { isSkipped: false, next: timeAfter(rule, Math.max(due, now)) }
  }
}

/** Checks the options of a new timer by the clock of this machine, which may differ from that of the cluster. */
function checkNewTimer(name, options) {
  const timer = checkTimer(name, options)
  begin(timer, wallClock(), CALL_MS)
  return timer
}

/** The timers in the text of the core: `[name,due,method,args,rule,…]`. */
function listTimers(text) {
  const items = JSON.parse(text)
  const timers = []
  for (let i = 0; i < items.length; i += 5) {
    const [name, due, method, args, { start, ...rule }] = items.slice(i, i + 5)
    timers.push({ name, due, method, args, ...rule })
  }
  return timers
}

module.exports = { advance, begin, checkName, checkNewTimer, checkTimer, listTimers }
