// Keeps the watchers of `node.watch`: each selects a part of the state and is called when that part has changed.
//
// Called by replicated-state.js after every change of the state. Thousands of selectors after each action would cost more than the
// action: together they get a share of the time. Within it they run with the change; beyond it, once for many changes.

'use strict'

const { Budget } = require('./budget')
const { callOptions } = require('./call-options')
const { listen, unlisten } = require('./aborts')
const { now, setTimeout } = require('./environment')
const errors = require('./errors')
const { shown } = require('./kind')

/** Of the time of this thread, for all its nodes. */
const SHARE = 0.04
/** What may be saved: a hundred changes with ten thousand selectors. */
const SAVED_MS_MAX = 50

const budget = new Budget(SHARE, SAVED_MS_MAX, 1)

class Selections {
  /** No listener is called from here on. */
  isSilent = false
  #read
  #selections = new Set()
  /** They run a little later, for all changes until then. */
  #isDue = false
  #runLater = () => {
    this.#isDue = false
    this.#run()
  }

  /** @param read gives the state, or undefined before it is there. */
  constructor(read) {
    this.#read = read
  }

  /** @returns `unwatch`, which ends this one at once, also inside a listener; calling it again does nothing. */
  add(selector, listener, options) {
    if (typeof selector !== 'function' || typeof listener !== 'function') {
      throw errors.invalidArgument(
        `\`watch\` takes two functions, a selector and a listener, got ${shown(selector)} and ${shown(listener)}`
      )
    }
    const { equals = Object.is, signal } = callOptions(options, ['equals', 'signal'], errors.invalidArgument)
    const state = this.#read()
    const value = state === undefined ? undefined : selector(state)
    const selection = { selector, listener, equals, value, aborted: () => unwatch() }
    const unwatch = () => {
      this.#selections.delete(selection)
      if (signal !== undefined) unlisten(signal, selection)
    }
    if (signal?.aborted) return unwatch
    if (signal !== undefined) listen(signal, selection)
    this.#selections.add(selection)
    return unwatch
  }

  /** The state has changed. */
  notify() {
    if (this.#selections.size === 0 || this.#isDue) return
    if (budget.allows()) this.#run()
    else this.#postpone()
  }

  #postpone() {
    this.#isDue = true
    // Waits until the budget has recovered from the last run.
    setTimeout(this.#runLater, Math.ceil(-budget.left / SHARE)).unref()
  }

  #run() {
    const start = now()
    const state = this.#read()
    for (const selection of this.#selections) {
      if (this.isSilent) break
      try {
        callIfChanged(selection, state)
      } catch (error) {
        errors.surface(error)
      }
    }
    budget.spend(start)
  }

  /** Releases the watchers and what they refer to. */
  clear() {
    for (const selection of this.#selections) selection.aborted()
  }
}

/** What selector, `equals` or listener throw surfaces as an uncaught exception, once all have run. */
function callIfChanged(selection, state) {
  const { selector, equals, value: previous } = selection
  const value = selector(state)
  if (equals(value, previous)) return
  // Set before the call: a listener that throws has been called for this value.
  selection.value = value
  const { listener } = selection
  listener(value, previous)
}

module.exports = { Selections }
