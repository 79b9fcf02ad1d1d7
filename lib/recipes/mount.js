// What a client of a recipe has in common with all others: the node, the key, the calls, and its part of the state.
//
// Used by the clients of the recipes. Waiting never polls: a client is called after each action of its own recipe.

'use strict'

const errors = require('../errors')
const { kindOf } = require('../kind')
const { faultOfPart } = require('./part')

const { hasOwn, keys } = Object

class Mount {
  node
  key
  #recipe
  #listeners = new Set()
  #unsubscribe = undefined
  #hasChecked = false

  /** Throws if the node has no such recipe under this key, as far as its state can be read. */
  constructor(node, key, recipe) {
    if (typeof node?.perform !== 'function' || typeof node.getState !== 'function') {
      throw errors.invalidArgument(`\`${recipe.name}.client\` takes a node, got ${kindOf(node)}`)
    }
    if (typeof key !== 'string') {
      throw errors.invalidArgument(
        `\`${recipe.name}.client\` takes the key under which the recipe is mounted, got ${kindOf(key)}`
      )
    }
    this.node = node
    this.key = key
    this.#recipe = recipe
    // A node with storage has no state before it has read its log.
    if (canRead(node)) this.#check(node.getState())
  }

  /** This recipe's part of the committed state on this node. */
  get state() {
    const state = this.node.getState()
    if (!this.#hasChecked) this.#check(state)
    return hasOwn(state, this.key) ? state[this.key] : this.#recipe.initialState
  }

  /** Calls a method of the recipe. */
  perform(method, args, options) {
    return this.node.perform(`${this.key}/${method}`, args, options)
  }

  /**
   * Calls the listener with each action of this recipe, whose type is given without the key, with each session that
   * starts or ends, and with undefined where the state was replaced as a whole.
   *
   * @returns what ends it.
   */
  listen(listener) {
    const entry = { listener }
    this.#listeners.add(entry)
    this.#unsubscribe ??= this.node.subscribe(({ action }) => this.#notify(action))
    return () => {
      if (!this.#listeners.delete(entry) || this.#listeners.size > 0) return
      this.#unsubscribe()
      this.#unsubscribe = undefined
    }
  }

  #notify(action) {
    const type = action === undefined ? undefined : action?.type
    let local = action
    if (action !== undefined) {
      if (typeof type !== 'string') return
      if (type.startsWith(`${this.key}/`)) local = { ...action, type: type.slice(this.key.length + 1) }
      else if (!type.startsWith('@@conflux/SESSION_')) return
    }
    for (const { listener } of [...this.#listeners]) {
      try {
        listener(local)
      } catch (error) {
        errors.surface(error)
      }
    }
  }

  #check(state) {
    const { name } = this.#recipe
    const isMounted = typeof state === 'object' && state !== null && hasOwn(state, this.key)
    const fault = isMounted ? faultOfPart(state[this.key], this.#recipe) : 'is missing'
    if (fault !== null) {
      throw errors.invalidArgument(
        `\`${name}.client\`: the state at "${this.key}" ${fault}${whereElse(state, name)}; mount it by compose({ ${nameOf(this.key)}: ${name}() })`
      )
    }
    this.#hasChecked = true
  }
}

/** `; this node has it at "x"`, or nothing. */
function whereElse(state, name) {
  if (typeof state !== 'object' || state === null) return ''
  const found = keys(state).filter(key => {
    const recipe = state[key]?.recipe
    return typeof recipe === 'string' && recipe.startsWith(`${name}/`)
  })
  return found.length === 0 ? '' : `; this node has it at ${found.map(key => `"${key}"`).join(' and ')}`
}

const nameOf = key => (/^[A-Za-z_$][\w$]*$/.test(key) ? key : `'${key}'`)

function canRead(node) {
  try {
    node.getState()
    return true
  } catch {
    return false
  }
}

module.exports = { Mount }
