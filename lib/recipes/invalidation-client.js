// Invalidates caches on all nodes, and knows when that is done: `invalidation.client(node, key, apply)`.
//
// Called by recipes.js. Each node applies the invalidations in the order of the log, one after the other, and then
// reports the last one. The caller waits for the reports of all members that are alive.

'use strict'

const errors = require('../errors')
const { reasonOf } = require('../aborts')
const { kindOf } = require('../kind')
const checks = require('./checks')
const { invalidation } = require('./invalidation')
const { Mount } = require('./mount')
const { Announcements } = require('./sessions')
const { Waiter } = require('./waiter')

const OPTIONS = { timeout: checks.milliseconds(0), signal: checks.signal }

const noop = () => {}

/**
 * @param apply called with the tags of each invalidation, and with null where everything is to be forgotten; without it, this
 *   node has no cache.
 */
function client(node, key, apply) {
  if (apply !== undefined && typeof apply !== 'function') {
    throw errors.invalidArgument(
      `\`invalidation.client\` takes a function that forgets what the tags name, got ${kindOf(apply)}`
    )
  }
  return new Invalidation(new Mount(node, key, invalidation()), apply)
}

class Invalidation {
  #mount
  #apply
  #announcements
  #stop = undefined
  /** Up to here this node has applied the invalidations. */
  #applied = 0
  /** `{ sequence, tags }` in order. */
  #queue = []
  #isApplying = false
  /** `apply` threw: it has to forget everything. */
  #hasFailed = false

  constructor(mount, apply) {
    this.#mount = mount
    this.#apply = apply
    this.#announcements = new Announcements(mount, () => mount.performInSession('applied', [this.#applied]))
  }

  /** Resolves when other nodes wait for this one. A cache is used after that. */
  async join() {
    if (this.#apply === undefined)
      throw errors.invalidCall('`join`: this client was made without a function to apply invalidations')
    this.#applied = this.#mount.state.sequence
    this.#stop ??= this.#mount.listen(action => this.#heard(action))
    await this.#announcements.add('', null)
  }

  /** Other nodes do not wait for this one any more. */
  async leave() {
    this.#announcements.remove('')
    this.#stop?.()
    this.#stop = undefined
    this.#queue = []
    await this.#mount.performInSession('leave', [], { needsSession: false })
  }

  /** Resolves when all live members have applied it. */
  async invalidate(tags, options) {
    const list = typeof tags === 'string' ? [tags] : tags
    if (!Array.isArray(list) || !list.every(tag => typeof tag === 'string')) {
      throw errors.invalidCall(`\`invalidate\` takes a tag or an array of tags, got ${kindOf(tags)}`)
    }
    const { timeout, signal } = checks.options('invalidate', options, OPTIONS)
    const { sequence } = await this.#mount.perform('invalidate', [list], { timeout, signal })
    await this.#appliedByAll(sequence, timeout, signal)
  }

  #heard(action) {
    if (action === undefined) this.#enqueue({ sequence: this.#mount.state.sequence, tags: null })
    else if (action.type === 'INVALIDATED') this.#enqueue(action)
  }

  #enqueue({ sequence, tags }) {
    this.#queue.push({ sequence, tags })
    if (!this.#isApplying) this.#run()
  }

  async #run() {
    this.#isApplying = true
    while (this.#queue.length > 0) {
      const { sequence, tags } = this.#queue.shift()
      try {
        await this.#apply(this.#hasFailed ? null : tags)
      } catch (error) {
        // The cache may contain outdated entries: other nodes wait until this node has forgotten everything.
        this.#hasFailed = true
        errors.surface(error)
        continue
      }
      this.#hasFailed = false
      this.#applied = sequence
      // One call reports all invalidations that were applied meanwhile.
      if (this.#queue.length === 0) this.#mount.perform('applied', [this.#applied]).catch(noop)
    }
    this.#isApplying = false
  }

  #appliedByAll(sequence, timeout, signal) {
    const isDone = () => Object.values(this.#mount.state.members).every(member => member.sequence >= sequence)
    if (isDone()) return undefined
    const waiter = new Waiter()
    const reject = makeError => waiter.end(() => waiter.reject(makeError()))
    const onClose = () => reject(() => errors.closed('unknown'))
    const stop = this.#mount.listen(() => isDone() && waiter.end(waiter.resolve))
    this.#mount.node.once('close', onClose)
    waiter.onEnd(() => {
      stop()
      this.#mount.node.off('close', onClose)
    })
    if (timeout !== undefined) waiter.limit(timeout, () => reject(() => this.#lateError(sequence, timeout)))
    if (signal !== undefined) {
      waiter.abortedBy(signal, () =>
        reject(() => errors.aborted('invalidating', 'unknown', reasonOf(signal)))
      )
    }
    return waiter.promise
  }

  #lateError(sequence, timeout) {
    const late = Object.values(this.#mount.state.members).filter(member => member.sequence < sequence)
    const nodes = late.map(({ id }) => id).sort()
    return errors.core(
      'ERR_CONFLUX_TIMEOUT',
      `not all nodes applied the invalidation within ${timeout} ms: ${nodes.join(', ')}`,
      { timeout, nodes, outcome: 'unknown' }
    )
  }
}

module.exports = { client }
