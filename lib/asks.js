// This file holds what the application has asked of the cluster, and hands it to the core: `sync` and the commands of
// an operator.
//
// Called by node.js. No timer here: the core answers each at the latest when its time is over.

'use strict'

const { Deferred } = require('./deferred')
const errors = require('./errors')
const { isTimeout, TIMEOUT_RULE } = require('./timeout')

const TIMEOUT_DEFAULT = 10_000
const CLUSTER_SIZE_MAX = 99

class Asks {
  /** Set once, before the first ask. */
  native = null
  #pendingMax
  /** By ticket. */
  #pending = Object.create(null)
  #count = 0
  #ticket = 0

  constructor({ maxPending }) {
    this.#pendingMax = maxPending
  }

  sync(options) {
    return this.#ask('sync', options)
  }

  /** `id` may be left out, also before the options. */
  transferLeadership(id, options) {
    if (typeof id === 'object' && id !== null && options === undefined)
      return this.transferLeadership(null, id)
    const to = id ?? null
    if (to !== null) checkId('transferLeadership', to)
    return this.#ask({ transferLeadership: { to } }, options)
  }

  remove(id, options) {
    checkId('remove', id)
    return this.#ask({ remove: { id } }, options)
  }

  resize(clusterSize, options) {
    if (!Number.isInteger(clusterSize) || clusterSize < 1 || clusterSize > CLUSTER_SIZE_MAX) {
      throw errors.invalidCall(
        `\`resize\` takes the new cluster size: an integer from 1 to ${CLUSTER_SIZE_MAX}`
      )
    }
    return this.#ask({ resize: { clusterSize } }, options)
  }

  recover(options) {
    const { iUnderstandThatActionsMayBeLost, ...rest } = options ?? {}
    if (iUnderstandThatActionsMayBeLost !== true) {
      throw errors.invalidCall(
        '`recover` founds the cluster anew from the nodes that are left: actions that only the missing ones knew are ' +
          'lost, also acknowledged ones. If that is what you want, pass { iUnderstandThatActionsMayBeLost: true }'
      )
    }
    return this.#ask('recover', rest)
  }

  done(ticket) {
    this.#take(ticket)?.resolve()
  }

  failed(ticket, error) {
    this.#take(ticket)?.reject(error)
  }

  rejectAll(error) {
    for (const ticket of Object.keys(this.#pending)) this.failed(ticket, error)
  }

  /** Throws what is wrong with the call; nothing is asked then. */
  #ask(ask, options) {
    const timeout = timeoutOf(options)
    if (this.#count >= this.#pendingMax) throw errors.busyAsking(this.#count)
    const ticket = ++this.#ticket
    const deferred = new Deferred()
    this.native.ask(JSON.stringify([ticket, Math.ceil(timeout), ask]))
    // No call below: what is asked is recorded, also at the end of the stack.
    this.#pending[ticket] = deferred
    this.#count++
    return deferred.promise
  }

  #take(ticket) {
    const ask = this.#pending[ticket]
    if (ask === undefined) return undefined
    delete this.#pending[ticket]
    this.#count--
    return ask
  }
}

function timeoutOf(options) {
  if (options === undefined || options === null) return TIMEOUT_DEFAULT
  if (typeof options !== 'object') throw errors.invalidCall('the options must be an object')
  for (const key of Object.keys(options)) {
    if (key !== 'timeout') throw errors.invalidCall(`the option "${key}" is unknown`)
  }
  const { timeout = TIMEOUT_DEFAULT } = options
  if (!isTimeout(timeout)) throw errors.invalidCall(TIMEOUT_RULE)
  return timeout
}

function checkId(what, id) {
  if (typeof id !== 'string' || id === '' || !id.isWellFormed()) {
    throw errors.invalidCall(`\`${what}\` takes the id of a member: a non-empty string`)
  }
}

module.exports = { Asks }
