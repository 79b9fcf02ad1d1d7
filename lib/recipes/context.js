// What a recipe's methods have as `this`: the node of the leader, limited to what a recipe may use, and its own part of
// the state.
//
// Made by compose.js for each call of a method.

'use strict'

const { partOf } = require('./part')

const NO_CALLER = Object.freeze({ id: null, session: null })

class RecipeContext {
  /** The key under which the recipe is mounted. */
  key
  #method
  #recipe

  /** @param method what the method of the node has as `this`. */
  constructor(method, key, recipe) {
    this.key = key
    this.#method = method
    this.#recipe = recipe
  }

  /** This recipe's part of the state that its action will be applied to. */
  get state() {
    return partOf(this.#method.getProvisionalState(), this.key, this.#recipe)
  }

  /** `{ id, session }` of the node that makes the call; both are null without sessions, and where a timer calls. */
  get caller() {
    try {
      return this.#method.caller ?? NO_CALLER
    } catch (error) {
      if (error.code === 'ERR_CONFLUX_NO_SESSIONS') return NO_CALLER
      throw error
    }
  }

  now() {
    return this.#method.now()
  }

  random() {
    return this.#method.random()
  }

  /** When the timer was due that called the method; undefined in other calls. */
  get scheduledAt() {
    return this.#method.scheduledAt
  }

  /** Names of timers and methods are this recipe's own. */
  schedule(name, { method, ...options }) {
    this.#method.schedule(`${this.key}/${name}`, { ...options, method: `${this.key}/${method}` })
  }

  unschedule(name) {
    this.#method.unschedule(`${this.key}/${name}`)
  }
}

module.exports = { RecipeContext }
