// The common part of all clients of recipes: the node, the key, the calls, and the part of the state.
//
// Used by the clients of the recipes. Waiting never polls: a client is called after each action of its own recipe.

'use strict'

const { now } = require('../environment')
const { reasonOf } = require('../aborts')
const errors = require('../errors')
const { kindOf } = require('../kind')
const { faultOfPart } = require('./part')
const { Waiter } = require('./waiter')

const { hasOwn, keys } = Object

class Mount {
  node
  key
  #recipe
  #listeners = new Set()
  #unsubscribe = undefined
  #hasChecked = false
  /** The number of this node's session, or null. */
  #session = null
  /** Called with each new session. */
  #onSession = new Set()

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
    this.#session = node.status().session ?? null
    node.on('session', ({ session }) => {
      this.#session = session
      if (session !== null) for (const listener of [...this.#onSession]) listener()
    })
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
   * Calls a method that looks at its caller. If the session in which it was called has ended, nothing is logged, and the
   * call is repeated in the next one.
   *
   * @param needsSession a text: waits for a session of this node first, and throws an error with this text without the option
   *   `sessions`; false: the call needs none.
   */
  async performInSession(
    method,
    args,
    { timeout, signal, needsSession = noSessions(this.#recipe.name) } = {}
  ) {
    const end = timeout === undefined ? undefined : now() + timeout
    const left = () => (end === undefined ? undefined : Math.max(0, end - now()))
    if (needsSession !== false) {
      if (!this.#hasSessions())
        throw errors.core('ERR_CONFLUX_NO_SESSIONS', needsSession, { outcome: 'not-applied' })
      await this.#newSession(null, left(), signal)
    }
    for (;;) {
      const session = this.#session
      try {
        return await this.perform(method, args, { timeout: left(), signal })
      } catch (error) {
        if (error.code !== 'ERR_CONFLUX_SESSION_ENDED') throw error
        await this.#newSession(session, left(), signal)
      }
    }
  }

  /** Whether this node has a session now. */
  get hasSession() {
    return this.#session !== null
  }

  /** Calls the listener with each further session of this node. Returns what ends it. */
  onSession(listener) {
    this.#onSession.add(listener)
    return () => void this.#onSession.delete(listener)
  }

  #hasSessions() {
    try {
      this.node.sessions()
      return true
    } catch (error) {
      return error.code !== 'ERR_CONFLUX_NO_SESSIONS'
    }
  }

  /** Resolves when this node has a session other than this one. */
  #newSession(former, timeout, signal) {
    const isNew = () => this.#session !== null && this.#session !== former
    if (isNew()) return undefined
    const waiter = new Waiter()
    const onClose = () => waiter.end(() => waiter.reject(errors.closed('not-applied')))
    const stop = this.onSession(() => isNew() && waiter.end(waiter.resolve))
    this.node.once('close', onClose)
    waiter.onEnd(() => {
      stop()
      this.node.off('close', onClose)
    })
    const name = this.#recipe.name
    if (timeout !== undefined)
      waiter.limit(timeout, () => waiter.end(() => waiter.reject(noSessionYet(name, timeout))))
    if (signal !== undefined) {
      waiter.abortedBy(signal, () =>
        waiter.end(() => waiter.reject(errors.aborted(name, 'not-applied', reasonOf(signal))))
      )
    }
    return waiter.promise
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

const noSessions = name =>
  `the recipe \`${name}\` needs sessions: open the nodes with the option \`sessions\``

function noSessionYet(name, timeout) {
  const text = `${name}: this node has no session after ${Math.round(timeout)} ms; all members need the option \`sessions\``
  return errors.core('ERR_CONFLUX_TIMEOUT', text, { timeout, outcome: 'not-applied' })
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
