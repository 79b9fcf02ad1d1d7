// The evaluations of a batch: their common time, `this` of their methods, and their answers.
//
// Made by node.js, and called by it for each delivery that asks for an evaluation.

'use strict'

const { Clock } = require('./clock')
const { MethodContext } = require('./method-context')

class Evaluations {
  #replicatedState
  #clock
  #context
  #onThrown
  #answers = []
  /** The lengths of their texts. */
  #answersLength = 0

  /**
   * @param node the public object of the node.
   * @param seedOf gives the seed of an evaluation from its position in the batch.
   * @param events is notified of what methods and reducers throw by mistake, and of a clock that jumps.
   */
  constructor(node, replicatedState, seedOf, events) {
    this.#replicatedState = replicatedState
    this.#clock = new Clock(jump => events.clockJumped(jump))
    this.#context = new MethodContext(node, seedOf)
    this.#onThrown = (what, method, error) => events.threw(what, method, error)
  }

  /** The state contains everything that was committed: what is committed from here on was evaluated just now. */
  caughtUp(isCaughtUp) {
    this.#clock.isLive = isCaughtUp
  }

  /** The commits that follow were evaluated at this time; 0: they do not say. `moment`: when this is read. */
  time(at, moment) {
    this.#clock.observe(at, moment)
    this.#replicatedState.at = at
  }

  begin(moment) {
    this.#context.at = this.#clock.read(moment)
  }

  /** Returns the length of the answers so far. */
  evaluate(method, args) {
    const context = this.#context
    context.begin(this.#answers.length)
    const answer = this.#replicatedState.evaluate({ node: context.handle, method, args }, this.#onThrown)
    context.end()
    return this.#add(answer)
  }

  /** The same for an action that no call made. */
  evaluateSystem(action) {
    return this.#add(this.#replicatedState.evaluateSystem(action, this.#onThrown))
  }

  #add(answer) {
    this.#answers.push(answer)
    return (this.#answersLength += answer.length)
  }

  /** The batch is done: the answers, and the time of the evaluations. */
  take() {
    const text = `[${this.#answers.join(',')}]`
    this.#answers = []
    this.#answersLength = 0
    return { text, at: this.#context.at }
  }
}

module.exports = { Evaluations }
