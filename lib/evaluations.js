// The evaluations of one batch: their answers for the core, and what a method sees of its caller and of the sessions.
//
// Called by `deliveries.js`, and by node.js for the answers.

'use strict'

const errors = require('./errors')

/** Actions of these types come from the cluster alone. */
const SESSION_STARTED = '@@conflux/SESSION_STARTED'
const SESSION_ENDED = '@@conflux/SESSION_ENDED'

class Evaluations {
  #node
  #replicatedState
  #onThrown
  #hasSessions
  #answers = []
  /** The lengths of their texts. */
  #length = 0
  /** `{ id, session }`, frozen. */
  #caller = undefined
  /** The session in which the caller called has ended. */
  #hasEnded = false
  #sessions = Object.freeze([])
  /** A method runs. */
  #isRunning = false
  /** The method that runs has asked for a caller whose session has ended. */
  #hasAsked = false

  /**
   * @param node `this` in methods.
   * @param onThrown called with what a method or the reducer threw by mistake (see evaluation.js).
   */
  constructor(node, replicatedState, onThrown, hasSessions) {
    this.#node = node
    this.#replicatedState = replicatedState
    this.#onThrown = onThrown
    this.#hasSessions = hasSessions
  }

  // For the core. Each evaluation returns the length of the answers so far.

  evaluate(method, args) {
    const call = { node: this.#node, method, args, verify: this.#hasSessions ? this.#verify : undefined }
    this.#isRunning = true
    this.#hasAsked = false
    try {
      return this.#answer(this.#replicatedState.evaluate(call, this.#onThrown))
    } finally {
      this.#isRunning = false
    }
  }

  /** An action that no call made. */
  evaluateSystem(action) {
    return this.#answer(this.#replicatedState.evaluateSystem(action, this.#onThrown))
  }

  #answer(answer) {
    this.#answers.push(answer)
    return (this.#length += answer.length)
  }

  /** The answers, as one text; the next batch begins. */
  take() {
    const text = `[${this.#answers.join(',')}]`
    this.#answers = []
    this.#length = 0
    return text
  }

  callBy(id, session, hasEnded) {
    this.#caller = Object.freeze({ id, session })
    this.#hasEnded = hasEnded
  }

  setSessions(list) {
    this.#sessions = Object.freeze(list.map(session => Object.freeze(session)))
  }

  /** Throws what a method may not return: also if it caught the error that it got instead of its caller. */
  #verify = returned => {
    if (this.#hasAsked) throw errors.sessionEnded(this.#caller.id)
    const type = returned?.type
    if (type === SESSION_STARTED || type === SESSION_ENDED) throw errors.reservedType(type)
  }

  // For the application.

  /** `this.caller` in a method; elsewhere there is none. */
  get caller() {
    if (!this.#isRunning) return undefined
    if (!this.#hasSessions) throw errors.noSessions('this.caller')
    if (this.#hasEnded) {
      this.#hasAsked = true
      throw errors.sessionEnded(this.#caller.id)
    }
    return this.#caller
  }

  /** @param committed gives the sessions as this node knows them, for calls outside of methods. */
  sessions(committed) {
    if (!this.#hasSessions) throw errors.noSessions('sessions()')
    return this.#isRunning ? this.#sessions : committed()
  }
}

module.exports = { Evaluations }
