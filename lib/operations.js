// Keeps the pending operations (`sync` and the commands of an operator) and passes them to the core.
//
// Called by handle.js and delivery-target.js. It has no timer: the core answers each operation within its timeout.

'use strict'

const { listen, reasonOf, unlisten } = require('./aborts')
const { callOptions } = require('./call-options')
const { Deferred } = require('./deferred')
const errors = require('./errors')
const { shown } = require('./kind')

const TIMEOUT_DEFAULT = 10_000
const CLUSTER_SIZE_MAX = 99

const OPTIONS = ['timeout', 'signal']

class Operations {
  /** Set once, before the first operation. */
  native = null
  #pendingMax
  /** By ticket. */
  #pending = Object.create(null)
  #count = 0
  #ticket = 0
  #stacks

  /** @param stacks records the callers. */
  constructor({ maxPending }, stacks) {
    this.#pendingMax = maxPending
    this.#stacks = stacks
  }

  // `callee`: the function that the application called.

  /** It changes nothing: aborted, it has not been applied. */
  sync(options, callee) {
    return this.#ask('sync', 'sync', options, callee, 'not-applied')
  }

  /** `id` may be left out, also before the options. */
  transferLeadership(id, options, callee) {
    if (typeof id === 'object' && id !== null && options === undefined)
      return this.transferLeadership(null, id, callee)
    const to = id ?? null
    if (to !== null) checkId('transferLeadership', to)
    return this.#ask('transferring leadership', { transferLeadership: { to } }, options, callee)
  }

  remove(id, options, callee) {
    checkId('remove', id)
    return this.#ask(`removing \`${id}\``, { remove: { id } }, options, callee)
  }

  resize(clusterSize, options, callee) {
    if (!Number.isInteger(clusterSize) || clusterSize < 1 || clusterSize > CLUSTER_SIZE_MAX) {
      throw errors.invalidCall(
        `\`resize\` takes the new cluster size, an integer from 1 to ${CLUSTER_SIZE_MAX}, got ${shown(clusterSize)}`
      )
    }
    return this.#ask('resizing', { resize: { clusterSize } }, options, callee)
  }

  recover(options, callee) {
    const { iUnderstandThatActionsMayBeLost, ...rest } = options ?? {}
    if (iUnderstandThatActionsMayBeLost !== true) {
      throw errors.invalidCall(
        '`recover` recovers the cluster from the surviving nodes: actions that only the missing ones had are ' +
          'lost, even acknowledged ones. If you accept that, pass { iUnderstandThatActionsMayBeLost: true }'
      )
    }
    return this.#ask('recovering', 'recover', rest, callee)
  }

  done(ticket) {
    this.#take(ticket)?.deferred.resolve()
  }

  failed(ticket, error) {
    const waiter = this.#take(ticket)
    if (waiter !== undefined) this.#stacks.reject(waiter.deferred, error, waiter.site)
  }

  /** `makeError()` makes the error of a call. */
  rejectAll(makeError) {
    for (const ticket of Object.keys(this.#pending)) this.failed(ticket, makeError())
  }

  /**
   * Throws an error about an invalid call, and then starts nothing.
   *
   * @param what the operation, as text.
   * @param outcome of a call that is aborted once the core knows of it.
   */
  #ask(what, ask, options, callee, outcome = 'unknown') {
    const { timeout = TIMEOUT_DEFAULT, signal } = callOptions(options, OPTIONS)
    if (this.#count >= this.#pendingMax) throw errors.busyAsking(this.#count)
    if (signal?.aborted) throw errors.aborted(what, 'not-applied', reasonOf(signal))
    const ticket = ++this.#ticket
    const waiter = {
      deferred: new Deferred(),
      site: this.#stacks.capture(callee),
      signal,
      aborted: undefined
    }
    if (signal !== undefined) {
      // The operation is pending until the core answers.
      waiter.aborted = () =>
        this.#stacks.reject(waiter.deferred, errors.aborted(what, outcome, reasonOf(signal)), waiter.site)
      listen(signal, waiter)
    }
    this.native.beginOperation(JSON.stringify([ticket, Math.ceil(timeout), ask]))
    // No call below: the operation is recorded even after a stack overflow.
    this.#pending[ticket] = waiter
    this.#count++
    return waiter.deferred.promise
  }

  #take(ticket) {
    const waiter = this.#pending[ticket]
    if (waiter === undefined) return undefined
    delete this.#pending[ticket]
    this.#count--
    if (waiter.signal !== undefined) unlisten(waiter.signal, waiter)
    return waiter
  }
}

function checkId(what, id) {
  if (typeof id !== 'string' || id === '' || !id.isWellFormed()) {
    throw errors.invalidCall(`\`${what}\` takes the id of a member, a non-empty string, got ${shown(id)}`)
  }
}

module.exports = { Operations }
