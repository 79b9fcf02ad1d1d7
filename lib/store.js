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
  /** `#states[#oldest…#end - 1]` are provisional, in the order of their actions. The arrays keep their length. */
  #states = []
  /** Their actions, and the texts of these, at the same places. */
  #actions = []
  #texts = []
  #oldest = 0
  #end = 0

  constructor(application) {
    this.#application = application
    this.#committed = application.initialState()
  }

  get committed() {
    return this.#committed
  }

  /** The committed state with all provisional actions on top. */
  get newest() {
    return this.#end > this.#oldest ? this.#states[this.#end - 1] : this.#committed
  }

  /** Reduces an action that may yet be committed. Throws what the reducer throws; nothing changed then. */
  evaluate(action, text) {
    const state = this.#application.reduce(this.newest, action)
    const i = this.#end++
    this.#states[i] = state
    this.#actions[i] = action
    this.#texts[i] = text
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
    const i = this.#oldest
    if (i === this.#end) throw new Error('a provisional state was committed that is not there')
    const action = this.#actions[i]
    this.#committed = this.#states[i]
    this.#actions[i] = undefined
    this.#texts[i] = undefined
    this.#states[i] = undefined
    this.#oldest = i + 1
    if (this.#oldest === this.#end) this.#oldest = this.#end = 0
    else if (this.#oldest === STEP) this.#takeStep()
    return action
  }

  /** What is left begins at the front again. */
  #takeStep() {
    for (const array of [this.#states, this.#actions, this.#texts]) {
      array.copyWithin(0, STEP, this.#end)
      array.fill(undefined, this.#end - STEP, this.#end)
    }
    this.#end -= STEP
    this.#oldest = 0
  }

  /** Drops the provisional states: their actions will be evaluated again, or by another leader. */
  dropProvisional() {
    this.#states.length = 0
    this.#actions.length = 0
    this.#texts.length = 0
    this.#oldest = this.#end = 0
  }
}

module.exports = { Store }
