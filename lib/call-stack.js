// Adds the caller's stack to the error that a call is rejected with.
//
// Called by pending-calls.js, ready.js and operations.js. An error is created when the core has answered: by then no
// frame of the caller is on the stack. Where an `async` function awaits the call, V8 finds its frames from within a
// promise that the call's promise follows (`rejection`): that costs nothing unless a call is rejected. For a
// callback, and for `.catch`, the frames must be captured when the call is made (`CallStacks.capture`). That takes a
// tenth to a half of the time of a small action: a share of the time is spent on it, or, with `captureStacks: true`,
// as much as it takes.

'use strict'

const { Budget } = require('./budget')
const { now } = require('./environment')

/** Of the time of this thread, for all its nodes. */
const SHARE = 0.001
/** What may be saved: a few thousand calls after a quiet time. */
const SAVED_MS_MAX = 20
/** A longer capture was delayed by the garbage collector or by another process. */
const CAPTURE_MS_MAX = 0.05

/** The clock is read again after this many calls: reading it takes a hundredth of the time of a small action. */
const SKIPPED = 1024

const budget = new Budget(SHARE, SAVED_MS_MAX, 1)
let skipped = 0

class CallStacks {
  #isCapturing
  #isWanted

  /** @param captureStacks the option: true, false, or undefined. */
  constructor(captureStacks) {
    this.#isCapturing = captureStacks === true
    this.#isWanted = captureStacks !== false
  }

  /** The frames of the caller of `callee`, or undefined if this call is not captured. */
  capture(callee) {
    if (this.#isCapturing) return captureAt(callee)
    if (!this.#isWanted || skipped-- > 0) return undefined
    if (!budget.allows()) {
      skipped = SKIPPED
      return undefined
    }
    const start = now()
    const site = captureAt(callee)
    budget.spend(start, CAPTURE_MS_MAX)
    return site
  }

  /** Ends a promise with the error, whose stack becomes that of `site`, or of the code that awaits the promise. */
  reject(deferred, error, site) {
    if (!this.#isWanted) deferred.reject(error)
    else if (site !== undefined) deferred.reject(withSite(error, site))
    else deferred.resolve(rejection(error))
  }
}

function captureAt(callee) {
  const site = {}
  try {
    Error.captureStackTrace(site, callee)
    return site
  } catch {
    // Traces are replaced or forbidden.
    return undefined
  }
}

/** A stack is text, unless the application makes something else of it; then it stays as it is. */
function withSite(error, site) {
  try {
    const { stack } = site
    if (typeof stack === 'string') {
      const value = `${error.name}: ${error.message}${stack.slice(stack.indexOf('\n') >>> 0)}`
      Object.defineProperty(error, 'stack', { value, writable: true, configurable: true })
    }
  } catch {
    // The error, or the function that makes stacks, was replaced.
  }
  return error
}

/** Two turns later the promise that is resolved with this one follows it: V8 goes from here to who awaits that. */
async function rejection(error) {
  await undefined
  await undefined
  try {
    Error.captureStackTrace(error, rejection)
  } catch {
    // As above.
  }
  throw error
}

module.exports = { CallStacks, withSite }
