// Runs the methods and the reducer of a recipe without a cluster: with a clock, a caller and timers that a test controls.

'use strict'

const { RecipeContext } = require('../lib/recipes/context')

class RecipeModel {
  now = 1000
  /** The node that makes the next call. */
  caller = { id: 'a', session: 1 }
  /** By name: when it is due, and what it calls. */
  timers = new Map()
  state
  #recipe

  constructor(recipe) {
    this.#recipe = recipe
    this.state = recipe.initialState
  }

  /** Returns the action; throws the error of a refusal. Both are what JSON gives back. */
  call(method, ...args) {
    return this.#evaluate(method, JSON.parse(JSON.stringify(args)), undefined)
  }

  end(session) {
    this.#reduce({ type: '@@conflux/SESSION_ENDED', id: 'any', session, reason: 'silent' })
  }

  start(id, session) {
    this.#reduce({ type: '@@conflux/SESSION_STARTED', id, session, reason: 'admitted' })
  }

  /** Time passes, and timers that are due fire. */
  wait(milliseconds) {
    const end = this.now + milliseconds
    for (;;) {
      const due = [...this.timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at)
      if (due.length === 0) break
      const [name, { at, method, args }] = due[0]
      this.now = Math.max(this.now, at)
      this.timers.delete(name)
      this.#evaluate(method.slice('key/'.length), args, at)
    }
    this.now = end
  }

  #evaluate(method, args, scheduledAt) {
    const effects = []
    const node = {
      caller: this.caller,
      scheduledAt,
      now: () => this.now,
      getProvisionalState: () => ({ key: this.state }),
      schedule: (name, options) => effects.push(() => this.timers.set(name, options)),
      unschedule: name => effects.push(() => this.timers.delete(name))
    }
    const context = new RecipeContext(node, 'key', this.#recipe)
    const action = Reflect.apply(this.#recipe.methods[method], context, args)
    if (action instanceof Error) throw action
    for (const effect of effects) effect()
    if (action === null || action === undefined) return undefined
    const decoded = JSON.parse(JSON.stringify(action))
    this.#reduce(decoded)
    return decoded
  }

  #reduce(action) {
    this.state = JSON.parse(JSON.stringify(this.#recipe.reduce(deepFreeze(this.state), action)))
  }
}

function deepFreeze(value) {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value
  Object.values(value).forEach(deepFreeze)
  return Object.freeze(value)
}

module.exports = { RecipeModel }
