// The timers as an application sees them: it sets them by calls that the leader evaluates as any other, and lists them.
//
// Made by node.js.

'use strict'

const { SCHEDULE, UNSCHEDULE } = require('./evaluation')
const { checkName, checkNewTimer, listTimers } = require('./timer-rules')

class Timers {
  #calls
  #core

  /** @param core gives the native node. */
  constructor(calls, core) {
    this.#calls = calls
    this.#core = core
  }

  // `callee`: the function that the application called. Each throws an error about an invalid call.

  schedule([name, timer, options], callee) {
    return this.#calls.add(SCHEDULE, [name, checked(name, timer)], options, undefined, callee)
  }

  unschedule([name, options], callee) {
    checkName(name, 'unschedule')
    return this.#calls.add(UNSCHEDULE, [name], options, undefined, callee)
  }

  list() {
    return listTimers(this.#core().timers())
  }
}

/** The error says that the call never began. */
function checked(name, timer) {
  try {
    return checkNewTimer(name, timer)
  } catch (error) {
    error.outcome = 'not-applied'
    throw error
  }
}

module.exports = { Timers }
