// This file is a node: it lets the core's deliveries act on the store, the performs and the application.
//
// Called by index.js, which hands out its public face, and by `deliveries.js` for each delivery. Nothing that an
// application throws may leave `deliver`: what does is a bug, and ends this node, never the process.

'use strict'

const { EventEmitter } = require('node:events')
const { randomBytes } = require('node:crypto')
const { setInterval, clearInterval } = require('node:timers')
const { Application } = require('./application')
const deliveries = require('./deliveries')
const errors = require('./errors')
const { decodeError, evaluate } = require('./evaluation')
const { Performs } = require('./performs')
const { Ready } = require('./ready')
const { Store } = require('./store')
const { Subscribers } = require('./subscribers')

const { nextTick } = process

/** The open node keeps the process alive by a timer, which never has to fire. */
const NEVER_MS = 2147483647

class Node {
  /** What the application holds: `this` in its methods. */
  face
  #id
  #application
  #store
  #native
  #performs
  #ready
  #subscribers = new Subscribers()
  #events = new EventEmitter()
  #warned = new Set()
  #keepAlive = setInterval(() => {}, NEVER_MS)

  /** `open`, `closing`, then `closed` or `failed`. */
  #state = 'open'
  #failure = null
  #role = 'follower'
  #term = 0
  #leader = null
  #answers = []

  #closed
  #resolveClosed

  /** @param open what `binding.js` exports. Throws if the reducer has no initial state or the channel no sense. */
  constructor(options, open) {
    this.#id = options.id
    this.#application = new Application(options)
    try {
      this.#store = new Store(this.#application)
      this.#native = this.#open(options, open)
    } catch (error) {
      clearInterval(this.#keepAlive)
      throw error
    }
    this.#performs = new Performs(this.#native, options, error => this.#fail(errors.internal(error)))
    this.#ready = new Ready(() => JSON.parse(this.#native.status()).waitingFor)
    this.#closed = new Promise(resolve => (this.#resolveClosed = resolve))
    this.face = this.#makeFace()
  }

  #open(options, open) {
    try {
      return open(nativeOptions(options), text => this.#deliver(text))
    } catch (error) {
      // The rest of the options was checked before; what only a channel understands was not.
      throw errors.invalidOptions([`"channel": ${errors.messageOf(error)}`])
    }
  }

  /** Every function of it stands for itself: `const { perform } = node` works. */
  #makeFace() {
    const face = {
      perform: (method, args, timeout, callback) => this.#perform(method, args, timeout, callback),
      subscribe: listener => this.#subscribe(listener),
      getState: () => this.#store.committed,
      getProvisionalState: () => this.#store.newest,
      close: callback => this.#close(callback),
      status: () => this.#status(),
      ready: options => this.#whenReady(options),
      ref: () => this.#keepProcessAlive(true),
      unref: () => this.#keepProcessAlive(false)
    }
    for (const name of ['on', 'once', 'off']) {
      face[name] = (event, listener) => (this.#events[name](event, listener), face)
    }
    return face
  }

  // What the application calls.

  #perform(method, args, timeout, callback) {
    if (typeof timeout === 'function') {
      callback = timeout
      timeout = undefined
    }
    this.#application.forbidInside('perform')
    const isCallback = typeof callback === 'function'
    try {
      if (this.#state !== 'open') throw this.#endedError('not-applied')
      if (callback !== undefined && callback !== null && !isCallback) {
        throw errors.invalidPerform('the callback must be a function')
      }
      return this.#performs.add(method, args, timeout, isCallback ? callback : undefined)
    } catch (error) {
      if (!isCallback) return Promise.reject(error)
      nextTick(callback, error)
      return undefined
    }
  }

  #subscribe(listener) {
    if (this.#state !== 'open') throw this.#endedError('not-applied')
    return this.#subscribers.add(listener)
  }

  #close(callback) {
    this.#application.forbidInside('close')
    if (callback !== undefined && callback !== null && typeof callback !== 'function') {
      throw errors.invalidArgument('the callback of `close` must be a function')
    }
    if (this.#state === 'open') {
      // What was performed before is told to the core before.
      this.#performs.flush()
      this.#state = 'closing'
      this.#subscribers.clear()
      this.#ready.reject(this.#endedError('not-applied'))
      // Also an unref'd node takes its leave before the process exits; that is bounded in time.
      this.#keepAlive.ref()
      this.#native.close()
    }
    if (!callback) return this.#closed
    this.#closed.then(() => nextTick(callback, null))
    return undefined
  }

  #status() {
    const core = JSON.parse(this.#native.status())
    const isAlive = !this.hasEnded
    return {
      id: core.id,
      incarnation: core.incarnation,
      state: this.#state,
      failure: this.#failure && { code: this.#failure.code, message: this.#failure.message },
      cluster: core.cluster,
      role: isAlive ? core.role : 'follower',
      leader: isAlive ? core.leader : null,
      term: core.term,
      commitIndex: core.commitIndex,
      appliedIndex: core.appliedIndex,
      lastIndex: core.lastIndex,
      members: core.members,
      pending: this.#performs.count,
      waitingFor: isAlive ? core.waitingFor : null
    }
  }

  #whenReady(options) {
    if (this.#state !== 'open') return Promise.reject(this.#endedError('not-applied'))
    return this.#ready.wait(options)
  }

  #keepProcessAlive(isWanted) {
    // A node that takes its leave is not to be cut short.
    if (isWanted) this.#keepAlive.ref()
    else if (this.#state === 'open') this.#keepAlive.unref()
    return this.face
  }

  // What the core delivers. `deliveries.js` calls these, in order.

  #deliver(text) {
    if (this.hasEnded) return
    try {
      deliveries.read(text, this)
      if (this.hasEnded) return
      const answers = this.#answers
      this.#answers = []
      this.#native.answered(`[${answers.join(',')}]`)
    } catch (error) {
      this.#fail(errors.internal(error))
    }
  }

  get hasEnded() {
    return this.#state === 'closed' || this.#state === 'failed'
  }

  role(role, term, leader) {
    if (role !== 'leader' || term !== this.#term) this.#store.dropProvisional()
    const isNewRole = role !== this.#role
    const isNewLeader = leader !== this.#leader
    this.#role = role
    this.#term = term
    this.#leader = leader
    if (leader !== null) this.#ready.resolve()
    else this.#ready.reset()
    if (isNewRole) this.#emit('role', role)
    if (isNewLeader) this.#emit('leader', leader)
  }

  resetProvisional() {
    this.#store.dropProvisional()
  }

  evaluate(method, args) {
    this.#answers.push(evaluate(this.#application, this.#store, this.face, method, args))
  }

  committedProvisional() {
    this.#store.commitOldest()
    this.#subscribers.notify()
  }

  committed(index, action) {
    try {
      this.#store.commit(action)
    } catch (error) {
      this.#fail(errors.fenced(index, action, error))
      return
    }
    this.#subscribers.notify()
  }

  resolve(sequence, action) {
    this.#performs.resolve(sequence, action)
  }

  refused(sequence, data) {
    this.#performs.reject(sequence, decodeError(data))
  }

  failed(sequence, code, message, outcome) {
    this.#performs.reject(sequence, errors.core(code, message, { outcome }))
  }

  warning(code, message, facts) {
    if (this.#events.listenerCount('warning') > 0) {
      this.#emit('warning', { code, message, ...facts })
    } else if (this.#state === 'open' && !this.#warned.has(code)) {
      this.#warned.add(code)
      process.emitWarning(`conflux node "${this.#id}": ${message}`, { type: 'ConfluxWarning', code })
    }
  }

  stopped(code, message) {
    if (code !== null) this.#fail(errors.core(code, message))
    else if (this.#state === 'closing') this.#end('closed', null)
    else this.#fail(errors.internal('the core stopped without a reason'))
  }

  // How it ends.

  /** The state stays readable; whatever is pending is rejected; the others elect a leader without this node. */
  #fail(error) {
    if (this.hasEnded) return
    this.#native.kill()
    this.#end('failed', error)
  }

  #end(state, failure) {
    this.#state = state
    this.#failure = failure
    this.#role = 'follower'
    this.#leader = null
    clearInterval(this.#keepAlive)
    this.#store.dropProvisional()
    this.#subscribers.clear()
    this.#ready.reject(this.#endedError('not-applied'))
    this.#performs.rejectAll(outcome => this.#endedError(outcome))
    if (failure !== null) this.#reportFailure(failure)
    this.#emit('close')
    this.#resolveClosed()
  }

  #endedError(outcome) {
    return this.#failure === null ? errors.closed(outcome) : errors.failed(this.#failure, outcome)
  }

  #reportFailure(failure) {
    if (this.#events.listenerCount('error') > 0) this.#emit('error', failure)
    else process.stderr.write(`conflux node "${this.#id}" failed: ${failure.message} (${failure.code})\n`)
  }

  /** Once `close` was called, only the end itself is told. */
  #emit(event, value) {
    if (this.#state === 'closing') return
    try {
      if (value === undefined) this.#events.emit(event)
      else this.#events.emit(event, value)
    } catch (error) {
      errors.surface(error)
    }
  }
}

function nativeOptions({ id, clusterSize, channel, electionTimeout, heartbeatInterval }) {
  // The core draws no random numbers of its own: a seed and the same inputs give the same decisions.
  const seed = randomBytes(32).toString('hex')
  return JSON.stringify({ id, clusterSize, channel, electionTimeout, heartbeatInterval, seed })
}

module.exports = { Node }
