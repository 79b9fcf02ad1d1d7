// Holds the committed state and, on a leader, the provisional states on top of it.
//
// An action is reduced once. A leader reduces it when it evaluates the call, and keeps the result in a queue; when
// the action is committed, the oldest result becomes the committed state. Reducing the uncommitted ones again on every
// call would cost the square of their number.

'use strict'

/** What is taken from the front of the queue leaves it in steps: shifting one by one would move all others. */
const STEP = 4096

class Store {
  #application
  #committed
  /** `#states[#oldest…]` are provisional, in the order of their actions. */
  #states = []
  /** Their actions, and the texts of these, at the same places. */
  #actions = []
  #texts = []
  #oldest = 0

  constructor(application) {
    this.#application = application
    this.#committed = application.initialState()
  }

  get committed() {
    return this.#committed
  }

  /** The committed state with all provisional actions on top. */
  get newest() {
    return this.#states.length > this.#oldest ? this.#states[this.#states.length - 1] : this.#committed
  }

  /** Reduces an action that may yet be committed. Throws what the reducer throws; nothing changed then. */
  evaluate(action, text) {
    this.#states.push(this.#application.reduce(this.newest, action))
    this.#actions.push(action)
    this.#texts.push(text)
  }

  /** The text of the action of the oldest provisional state. */
  get oldestText() {
    return this.#texts[this.#oldest]
  }

  /** Reduces a committed action. Throws what the reducer throws; nothing changed then. */
  commit(action) {
    this.#committed = this.#application.reduce(this.#committed, action, true)
  }

  /** The committed state becomes that of a snapshot. */
  restore(state) {
    this.dropProvisional()
    this.#committed = state
  }

  /** The action of the oldest provisional state was committed. Returns that action. */
  commitOldest() {
    if (this.#oldest === this.#states.length)
      throw new Error('a provisional state was committed that is not there')
    const action = this.#actions[this.#oldest]
    this.#committed = this.#states[this.#oldest]
    this.#actions[this.#oldest] = undefined
    this.#texts[this.#oldest] = undefined
    this.#states[this.#oldest++] = undefined
    if (this.#oldest === this.#states.length) this.dropProvisional()
    else if (this.#oldest === STEP) {
      this.#states.splice(0, STEP)
      this.#actions.splice(0, STEP)
      this.#texts.splice(0, STEP)
      this.#oldest = 0
    }
    return action
  }

  /** Drops the provisional states: their actions will be evaluated again, or by another leader. */
  dropProvisional() {
    this.#states.length = 0
    this.#actions.length = 0
    this.#texts.length = 0
    this.#oldest = 0
  }
}

module.exports = { Store }
