// What a method sees of the sessions: those of its provisional state, and the node that called it.
//
// Made by evaluations.js for the method context, which says when a method begins.

'use strict'

const errors = require('./errors')

/** Actions of these types come from the cluster alone. */
const SESSION_STARTED = '@@conflux/SESSION_STARTED'
const SESSION_ENDED = '@@conflux/SESSION_ENDED'

class MethodCaller {
  #hasSessions
  /** `{ id, session }`, frozen. */
  #caller = undefined
  /** The session in which the caller called has ended. */
  #hasEnded = false
  #sessions = Object.freeze([])
  /** The method that runs has asked for a caller whose session has ended. */
  #hasAsked = false

  constructor(hasSessions) {
    this.#hasSessions = hasSessions
  }

  // For the core.

  /** The evaluations that follow are calls of this node. */
  callBy(id, session, hasEnded) {
    this.#caller = Object.freeze({ id, session })
    this.#hasEnded = hasEnded
  }

  setSessions(list) {
    this.#sessions = Object.freeze(list.map(session => Object.freeze(session)))
  }

  // For the evaluation.

  begin() {
    this.#hasAsked = false
  }

  /** Throws what a method may not return: also if it caught the error that it got instead of its caller. */
  verify(returned) {
    if (!this.#hasSessions) return
    if (this.#hasAsked) throw errors.sessionEnded(this.#caller.id)
    const type = returned?.type
    if (type === SESSION_STARTED || type === SESSION_ENDED) throw errors.reservedType(type)
  }

  // For the application.

  get caller() {
    if (!this.#hasSessions) throw errors.noSessions('this.caller')
    if (this.#hasEnded) {
      this.#hasAsked = true
      throw errors.sessionEnded(this.#caller.id)
    }
    return this.#caller
  }

  /** Throws without the option `sessions`. */
  get sessions() {
    if (!this.#hasSessions) throw errors.noSessions('sessions()')
    return this.#sessions
  }
}

module.exports = { MethodCaller }
