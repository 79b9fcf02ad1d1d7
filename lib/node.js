// A node: its public handle, and the target of the core's deliveries, which act on the state, the calls and the
// operations.
//
// Called by index.js, which hands out its public handle, and by `deliveries.js` for each delivery. No exception of an
// application may leave `deliver`: an exception that does is a bug, and ends this node, never the process.

'use strict'

const { Application } = require('./application')
const { Operations } = require('./operations')
const { closeOptions } = require('./call-options')
const { CallStacks } = require('./call-stack')
const { trace } = require('./call-trace')
const { bind } = require('./callback')
const { channelWarnings } = require('./channel-warnings')
const { prepareCore } = require('./core')
const { Deferred } = require('./deferred')
const diagnostics = require('./diagnostics')
const { Emitter } = require('./emitter')
const { KeepAlive, Promise, clearTimeout, nextTick, queueMicrotask, setTimeout } = require('./environment')
const errors = require('./errors')
const { decodeError } = require('./evaluation')
const { Evaluations } = require('./evaluations')
const { Events } = require('./events')
const { Inbox } = require('./inbox')
const { showAsStatus } = require('./inspect')
const { LateNative } = require('./late-native')
const { LeaderWork } = require('./while-leader')
const { Log } = require('./log')
const { MembershipWatch } = require('./membership-watch')
const { Namesakes } = require('./namesakes')
const { PendingCalls } = require('./pending-calls')
const { Ready } = require('./ready')
const { ReplicatedState } = require('./replicated-state')
const { ringOf } = require('./secret')
const { SnapshotReports } = require('./snapshot-reports')
const { describeStatus } = require('./status')
const { TIMEOUT_MAX } = require('./timeout')
const { Timers } = require('./timers')

/** The core ends a close within its timeout; after this additional time, something else delays it: a disk, or a long log. */
const CLOSE_GRACE_MS = 250

class Node {
  /** The public object of the node: `this` in its methods. */
  handle
  /** What the core asks of this node as the leader. */
  evaluations
  #application
  #replicatedState
  #native
  #calls
  #operations
  #ready
  #timers
  #events
  #keepAlive = null
  /** The last call of `ref` or `unref`. */
  #isKeptAlive = true

  /** `open`, `closing`, then `closed` or `failed`; `new` while it is made. */
  #state = 'new'
  #failure = null
  #role = 'follower'
  #term = 0
  #leader = null
  #inbox
  #isCaughtUp = false
  /** Calls that ended with a failure of this node, and what became of each: they are rejected when it has stopped. */
  #lost = []
  /** The core has ended each call that it heard of: the others have gone nowhere. */
  #hasSettled = false
  /** The batch held an action of this node. */
  #hasPerformed = false
  #afterMicrotasks = () => nextTick(turnOver, this)
  #isDurable
  #channel
  #id
  #log
  #membership
  #namesakes
  #leaderWork
  /** What the core asks this node to evaluate. */
  evaluations

  #closed = new Deferred()
  #closeCallbacks = []
  #closeTimeout = 0
  #closeTimer = undefined

  /** @param open what `binding.js` exports. Throws if the reducer has no initial state or the core cannot start. */
  constructor(options, open) {
    this.#isDurable = options.storage !== undefined
    this.#channel = options.channel
    this.#id = options.id
    this.handle = this.#makeHandle()
    this.#log = new Log(options.id, options.logger)
    this.#membership = new MembershipWatch(this.handle, this.#log)
    this.#events = new Events(options.id, this.handle, this.#log)
    this.#application = new Application(options)
    this.#replicatedState = new ReplicatedState(
      this.#application,
      {
        isReplayed: !this.#isDurable,
        readLog: (from, until) => JSON.parse(this.#native.commits(from, until))
      },
      {
        onApplyError: (index, why) => this.#native.reducerFailed(index, why),
        onHashed: (index, hash, micros) => this.hasEnded || this.#native.hashed(index, hash, micros),
        snapshots: new SnapshotReports(this.handle, this.#id, this.#log, () => this.#native)
      }
    )
    this.evaluations = new Evaluations(this.handle, this.#replicatedState, {
      core: () => this.#native,
      hasMethod: name => this.#application.hasMethod(name),
      hasSessions: options.sessions !== undefined,
      events: this.#events
    })
    this.#inbox = new Inbox(this, this.#replicatedState)
    const stacks = new CallStacks(options.captureStacks)
    this.#calls = new PendingCalls(
      options,
      stacks,
      (batch, beside) => this.#inbox.deliver(batch, beside),
      error => this.#fail(errors.internal(error)),
      () => this.#waitingFor()
    )
    this.#operations = new Operations(options, stacks)
    this.#timers = new Timers(this.#calls, () => this.#native)
    this.#ready = new Ready(
      () => this.#waitingFor(),
      () => JSON.parse(this.#native.status()).faultTolerance,
      stacks
    )
    this.#leaderWork = new LeaderWork(
      options => this.#operations.sync(options, this.handle.whileLeader),
      () => JSON.parse(this.#native.status()).recoveries
    )
    this.#namesakes = new Namesakes(options, () => this.#state, this.#closed.promise)
    const openCore = prepareCore(options, open, {
      deliver: (batch, beside) => this.#inbox.deliver(batch, beside),
      channelThrew: (what, error) => this.hasEnded || this.#events.channelThrew(what, error),
      fault: error => this.fault(error)
    })
    nextTick(beginKeepingAlive, this)
    const former = this.#namesakes.closing
    // Opening the core comes last: an exception after it would leave a member that the application cannot close.
    const native = former === undefined ? openCore() : this.#openLate(options, former, openCore)
    this.#native = this.#calls.native = this.#operations.native = native
    this.#state = 'open'
  }

  /** The core is opened once a former node of the same id has ended. */
  #openLate(options, former, open) {
    return new LateNative(options, former, open, {
      opened: native => {
        this.#native = this.#calls.native = this.#operations.native = native
      },
      failed: error => this.#fail(error),
      stopped: () => this.#endUnopened()
    })
  }

  /** Closed before there was a core: nothing has left this node. */
  #endUnopened() {
    this.#calls.rejectAll(() => this.#endedError('not-applied'))
    this.#end('closed', null)
  }

  /** Every function of it stands for itself: `const { perform } = node` works. */
  #makeHandle() {
    const handle = new Emitter()
    handle.perform = (method, args, options, callback) => this.#perform(method, args, options, callback)
    handle.schedule = (...args) => this.#changeTimers('schedule', args)
    handle.unschedule = (...args) => this.#changeTimers('unschedule', args)
    handle.timers = () => this.#timers.list()
    handle.subscribe = listener => this.#ifOpen(() => this.#replicatedState.subscribers.add(listener))
    handle.watch = (selector, listener, options) =>
      this.#ifOpen(() => this.#replicatedState.selections.add(selector, listener, options))
    handle.commits = options => this.#ifOpen(() => this.#replicatedState.commits.iterate(options))
    handle.getState = () => this.#application.show(this.#replicatedState.committed)
    handle.getProvisionalState = () => this.#application.show(this.#replicatedState.provisional)
    handle.close = (options, callback) => this.#close(options, callback)
    handle.status = () => this.#status()
    handle.ready = options => this.#whenReady(options)
    handle.sync = options => this.#ask('sync', [options])
    handle.transferLeadership = (id, options) => this.#ask('transferLeadership', [id, options])
    handle.remove = (id, options) => this.#ask('remove', [id, options])
    handle.resize = (clusterSize, options) => this.#ask('resize', [clusterSize, options])
    handle.recover = options => this.#ask('recover', [options])
    handle.setSecret = secret => this.#setSecret(secret)
    handle.sessions = () => this.evaluations.sessions(() => JSON.parse(this.#native.status()).sessions)
    handle.whileLeader = run => this.#ifOpen(() => this.#leaderWork.add(run))
    handle.ref = () => this.#keepProcessAlive(true)
    handle.unref = () => this.#keepProcessAlive(false)
    // Where there is none (before Node 20.4), nothing can ask for it.
    if (Symbol.asyncDispose !== undefined) {
      Object.defineProperty(handle, Symbol.asyncDispose, { value: () => this.#close() })
    }
    showAsStatus(handle)
    return handle
  }

  // What the application calls.

  #perform(method, args, options, callback) {
    if (typeof options === 'function') {
      callback = options
      options = undefined
    }
    if (!diagnostics.isCallTraced() && !this.#log.isDebugging)
      return this.#call(method, args, options, callback)
    const isCallback = typeof callback === 'function'
    const traced = { node: this.handle, id: this.#id, method, args }
    return trace(traced, isCallback ? callback : undefined, this.#log, traced =>
      this.#call(method, args, options, isCallback ? traced : callback)
    )
  }

  #call(method, args, options, callback) {
    this.#application.forbidInside('perform')
    const isCallback = typeof callback === 'function'
    try {
      if (this.#state !== 'open') throw this.#endedError('not-applied')
      if (callback !== undefined && callback !== null && !isCallback) {
        throw errors.invalidCall('the callback must be a function')
      }
      return this.#calls.add(method, args, options, isCallback ? callback : undefined, this.handle.perform)
    } catch (thrown) {
      const error = errors.isOwn(thrown) ? thrown : errors.notStarted('perform', thrown)
      if (!isCallback) return Promise.reject(error)
      nextTick(callback, error)
      return undefined
    }
  }

  #changeTimers(name, args) {
    this.#application.forbidInside(name)
    return this.#whileOpen(name, () => this.#timers[name](args, this.handle[name]))
  }

  /** What `begin` returns, while the node is open. */
  #ifOpen(begin) {
    if (this.#state !== 'open') throw this.#endedError('not-applied')
    return begin()
  }

  #ask(name, args) {
    this.#application.forbidInside(name)
    return this.#whileOpen(name, () => {
      // Earlier calls reach the core first.
      this.#calls.flush()
      return this.#operations[name](...args, this.handle[name])
    })
  }

  #whenReady(options) {
    return this.#whileOpen('ready', () => this.#ready.wait(options, this.handle.ready))
  }

  /** The promise that `begin` returns, or one that is rejected with what it throws. */
  #whileOpen(name, begin) {
    try {
      if (this.#state !== 'open') throw this.#endedError('not-applied')
      return begin()
    } catch (error) {
      return Promise.reject(errors.isOwn(error) ? error : errors.notStarted(name, error))
    }
  }

  #close(options, callback) {
    if (typeof options === 'function') {
      callback = options
      options = undefined
    }
    this.#application.forbidInside('close')
    const { timeout, leave } = closeOptions(options, !this.#isDurable)
    if (callback !== undefined && callback !== null && typeof callback !== 'function') {
      throw errors.invalidArgument('the callback of `close` must be a function')
    }
    const bound = callback ? bind(callback) : undefined
    if (this.hasEnded) return this.#hasClosed(bound)
    if (this.#state === 'open') {
      // Earlier calls reach the core first.
      this.#calls.flush()
      // It may have been opened in this very turn.
      this.#namesakes.add()
      nextTick(beginClosing, this)
      this.#native.close(timeout, leave)
      // No call below: a close that has begun is known to have.
      this.#state = 'closing'
      this.#closeTimeout = timeout
      this.#events.isMuted = true
      this.#replicatedState.subscribers.isSilent = true
      this.#replicatedState.selections.isSilent = true
    }
    if (bound === undefined) return this.#closed.promise
    this.#closeCallbacks[this.#closeCallbacks.length] = bound
    return undefined
  }

  #hasClosed(callback) {
    if (callback === undefined) return this.#closed.promise
    nextTick(callback, null)
    return undefined
  }

  /** The rest of it, a tick later: the call itself may have been cut off. */
  beginClosing() {
    if (this.#state !== 'closing') return
    this.#leaderWork.end()
    this.#ready.reject(() => this.#endedError('not-applied'))
    // Even an unref'd node closes before the process exits, within the timeout.
    this.#keepAlive.ref()
    const limit = Math.min(this.#closeTimeout + CLOSE_GRACE_MS, TIMEOUT_MAX)
    this.#closeTimer ??= setTimeout(giveUpClosing, limit, this)
  }

  /** Stops waiting for a hanging disk or a log that is still being read. */
  giveUpClosing() {
    this.crash()
  }

  // What the tests of an application do to it (`test-cluster.js`).

  /** As if this process had been killed: no other node is notified. */
  crash() {
    if (this.hasEnded) return
    this.#native.kill()
    this.#end('closed', null)
  }

  /** While it is isolated, the channel loses each frame from and to this node. */
  setIsolated(isIsolated) {
    this.#native.setIsolated(isIsolated)
  }

  #status() {
    return describeStatus(JSON.parse(this.#native.status()), {
      state: this.#state,
      failure: this.#failure,
      isAlive: !this.hasEnded,
      pending: this.#calls.count,
      reducedIndex: this.#replicatedState.reducedIndex
    })
  }

  #setSecret(secret) {
    if (this.#state !== 'open') throw this.#endedError('not-applied')
    this.#channel = { ...this.#channel, secret: ringOf(secret) }
    this.#native.setSecrets(JSON.stringify(this.#channel.secret))
    this.#events.warnAll(channelWarnings(this.#channel))
  }

  #waitingFor() {
    const { waitingFor } = JSON.parse(this.#native.status())
    return waitingFor ?? (this.#replicatedState.isReplayed ? null : 'replaying the log')
  }

  #keepProcessAlive(isWanted) {
    // A closing node must not be interrupted.
    if (this.#state === 'open') {
      if (isWanted) this.#keepAlive?.ref()
      else this.#keepAlive?.unref()
      this.#isKeptAlive = isWanted
    }
    return this.handle
  }

  /** A tick after it was opened, unless it could not be. */
  beginKeepingAlive() {
    if (this.#state === 'new' || this.hasEnded) return
    this.#keepAlive = new KeepAlive()
    if (this.#isKeptAlive) this.#keepAlive.ref()
    this.#namesakes.add()
    this.#membership.check()
    this.#events.warnAll(channelWarnings(this.#channel))
  }

  // What the core delivers. `inbox.js` and `deliveries.js` call these, in order.

  /** A batch is done. */
  answered(evaluationMicros) {
    const { text, at, beside } = this.evaluations.take()
    this.#native.answered(text, evaluationMicros, at, beside.length > 0 ? beside : undefined)
    this.#membership.check()
    if (this.#hasPerformed) this.#awaitTurn()
  }

  /** A batch is under way. */
  progressed(reducedIndex) {
    this.#native.progressed(reducedIndex)
  }

  fault(error) {
    this.#fail(errors.internal(error))
  }

  /** A leader's core delays its commit updates for the calls that callers make in response to them. */
  #awaitTurn() {
    this.#hasPerformed = false
    // After the microtasks of the callers, and after the flush of their new calls.
    if (this.#role === 'leader') nextTick(queueMicrotask, this.#afterMicrotasks)
  }

  turnOver() {
    if (!this.hasEnded) this.#native.turnOver()
  }

  get hasEnded() {
    return this.#state === 'closed' || this.#state === 'failed'
  }

  role(role, term, leader) {
    if (role !== 'leader' || term !== this.#term) this.#replicatedState.dropProvisional()
    if (role !== 'leader') this.evaluations.nextTimer(null)
    const isNewRole = role !== this.#role
    const isNewLeader = leader !== this.#leader
    const isNewTerm = term !== this.#term
    this.#role = role
    this.#term = term
    this.#leader = leader
    this.#tellReady()
    if ((isNewRole || isNewLeader || isNewTerm) && diagnostics.election.hasSubscribers) {
      diagnostics.election.publish({ node: this.handle, id: this.#id, role, term, leader })
    }
    this.#membership.check()
    this.#leaderWork.role(role, term)
    if (isNewRole) this.#events.emit('role', role)
    if (isNewLeader) this.#events.emit('leader', leader)
  }

  #tellReady() {
    if (this.#leader !== null && this.#replicatedState.isReplayed && this.#isCaughtUp) this.#ready.resolve()
    else this.#ready.reset()
  }

  caughtUp(isCaughtUp) {
    this.#isCaughtUp = isCaughtUp
    this.evaluations.caughtUp(isCaughtUp)
    this.#tellReady()
  }

  ownSession(session, previous, reason) {
    this.#events.emit('session', { session, previous, reason })
  }

  takeSnapshot(index) {
    this.#replicatedState.take(index)
  }

  /** Returns whether the state is restored; if not, reading goes on when it is. */
  restore(index, position) {
    return this.#replicatedState.restore(
      index,
      () => this.#native.statePiece(position),
      () => this.#native.progressed(0),
      () => this.#inbox.restored()
    )
  }

  hash(index) {
    this.#replicatedState.hash(index)
  }

  replayed() {
    this.#replicatedState.replayed()
    this.#tellReady()
  }

  performed(sequence, action, isReduced) {
    this.#hasPerformed = true
    if (isReduced) this.#calls.resolve(sequence, action)
    else this.#calls.reject(sequence, errors.notApplied(this.#replicatedState.applyError))
  }

  resolve(sequence, action) {
    this.#calls.resolve(sequence, action)
  }

  refused(sequence, data) {
    this.#calls.refuse(sequence, decodeError(data), this.#leader)
  }

  failed(sequence, code, message, outcome) {
    // The node stops next, with this error: the callers are rejected then, and find the node failed.
    if (errors.isOfNode(code)) this.#lost.push([sequence, outcome])
    else this.#calls.reject(sequence, errors.core(code, message, { outcome }))
  }

  operationDone(ticket) {
    this.#operations.done(ticket)
  }

  operationFailed(ticket, code, message) {
    if (errors.isOfNode(code)) return
    const facts = code === 'ERR_CONFLUX_NO_QUORUM' ? { waitingFor: this.#waitingFor() } : undefined
    this.#operations.failed(ticket, errors.core(code, message, facts))
  }

  warning(code, message, facts) {
    this.#events.warn(code, message, facts)
  }

  diverged(code, message, index) {
    const { applyError } = this.#replicatedState
    this.#events.diverged(errors.core(code, message, applyError?.index === index ? applyError : { index }))
  }

  restored() {
    this.#events.restored()
  }

  stopped(code, message) {
    this.#hasSettled = code !== 'ERR_CONFLUX_PANIC'
    if (code !== null) this.#fail(errors.ofNode(code, message, this.#channel, this.#namesakes))
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
    this.#keepAlive?.end()
    this.#membership.end()
    this.#leaderWork.end()
    this.#namesakes.remove()
    if (this.#closeTimer !== undefined) clearTimeout(this.#closeTimer)
    this.#replicatedState.end()
    this.evaluations.nextTimer(null)
    this.#replicatedState.dropProvisional()
    this.#replicatedState.subscribers.clear()
    this.#replicatedState.selections.clear()
    this.#replicatedState.commits.end(failure === null ? undefined : this.#endedError('unknown'))
    this.#ready.reject(() => this.#endedError('not-applied'))
    for (const [sequence, outcome] of this.#lost) this.#calls.reject(sequence, this.#endedError(outcome))
    this.#calls.rejectAll(outcome => this.#endedError(this.#hasSettled ? 'not-applied' : outcome))
    this.#operations.rejectAll(() => this.#endedError('unknown'))
    this.#events.isMuted = false
    if (failure !== null) this.#events.failed(failure)
    this.#events.emit('close')
    this.#closed.resolve()
    for (const callback of this.#closeCallbacks.splice(0)) nextTick(callback, null)
  }

  #endedError(outcome) {
    return this.#failure === null ? errors.closed(outcome) : errors.failed(this.#failure, outcome)
  }
}

// For ticks and timers: no closure is made for them.

function turnOver(node) {
  node.turnOver()
}

function beginKeepingAlive(node) {
  node.beginKeepingAlive()
}

function beginClosing(node) {
  node.beginClosing()
}

function giveUpClosing(node) {
  node.giveUpClosing()
}

module.exports = { Node }
