// A node: it makes the parts, opens the core, and records how it ends: closed or failed.
//
// Made by index.js, which hands out its handle: `handle.js` has what the application calls, `delivery-target.js` what the
// core delivers.

'use strict'

const { Application } = require('./application')
const { CallStacks } = require('./call-stack')
const { channelWarnings } = require('./channel-warnings')
const { prepareCore } = require('./core')
const { Deferred } = require('./deferred')
const { DeliveryTarget } = require('./delivery-target')
const { Emitter } = require('./emitter')
const { KeepAlive, clearTimeout, nextTick, setTimeout } = require('./environment')
const errors = require('./errors')
const { Evaluations } = require('./evaluations')
const { Events } = require('./events')
const { equip } = require('./handle')
const { Inbox } = require('./inbox')
const { LateNative } = require('./late-native')
const { LeaderWork } = require('./while-leader')
const { Log } = require('./log')
const { MembershipWatch } = require('./membership-watch')
const { Namesakes } = require('./namesakes')
const { Operations } = require('./operations')
const { PendingCalls } = require('./pending-calls')
const { Ready } = require('./ready')
const { ReplicatedState } = require('./replicated-state')
const { ringOf } = require('./secret')
const { SnapshotReports } = require('./snapshot-reports')
const { describeStatus } = require('./status')
const { TIMEOUT_MAX } = require('./timeout')
const { Timers } = require('./timers')
const { VoterCheck } = require('./voter-check')

/** The core ends a close within its timeout; after this additional time, something else delays it: a disk, or a long log. */
const CLOSE_GRACE_MS = 250

class Node {
  /** The public object of the node: `this` in its methods. */
  handle = new Emitter()
  #native
  #replicatedState
  #calls
  #operations
  #ready
  #events
  #evaluations
  #target
  #membership
  #namesakes
  #leaderWork
  #channel
  #keepAlive = null
  /** The last call of `ref` or `unref`. */
  #isKeptAlive = true

  /** `open`, `closing`, then `closed` or `failed`; `new` while it is made. */
  #state = 'new'
  #failure = null
  #closed = new Deferred()
  #closeCallbacks = []
  #closeTimeout = 0
  #closeTimer = undefined

  /**
   * Throws if the reducer has no initial state or the core cannot start.
   *
   * @param open what `binding.js` exports.
   * @param entry the function that the application called.
   */
  constructor(options, open, entry) {
    const { id } = options
    const { handle } = this
    const isDurable = options.storage !== undefined
    const core = () => this.#native
    const coreStatus = () => JSON.parse(this.#native.status())
    const waitingFor = () => this.#waitingFor()
    const deliver = (batch, beside) => inbox.deliver(batch, beside)
    this.#channel = options.channel
    const log = new Log(id, options.logger)
    const membership = (this.#membership = new MembershipWatch(handle, log))
    const events = (this.#events = new Events(id, handle, log))
    const application = new Application(options)
    const replicatedState = (this.#replicatedState = new ReplicatedState(
      application,
      {
        isReplayed: !isDurable,
        readLog: (from, until) => JSON.parse(this.#native.commits(from, until))
      },
      {
        onApplyError: (index, why) => this.#native.reducerFailed(index, why),
        onHashed: (index, hash, micros) => this.hasEnded || this.#native.hashed(index, hash, micros),
        snapshots: new SnapshotReports(handle, id, log, core)
      }
    ))
    const evaluations = (this.#evaluations = new Evaluations(handle, replicatedState, {
      core,
      hasMethod: name => application.hasMethod(name),
      hasSessions: options.sessions !== undefined,
      events
    }))
    const stacks = new CallStacks(options.captureStacks)
    const fault = error => this.fault(error)
    const calls = (this.#calls = new PendingCalls(options, stacks, deliver, fault, waitingFor))
    const operations = (this.#operations = new Operations(options, stacks))
    const timers = new Timers(calls, core)
    const ready = (this.#ready = new Ready(waitingFor, () => coreStatus().faultTolerance, stacks))
    const leaderWork = (this.#leaderWork = new LeaderWork(
      options => operations.sync(options, handle.whileLeader),
      () => coreStatus().recoveries
    ))
    const parts = {
      id,
      isDurable,
      handle,
      core,
      coreStatus,
      waitingFor,
      log,
      application,
      replicatedState,
      evaluations,
      calls,
      operations,
      timers,
      ready,
      events,
      membership,
      leaderWork,
      voterCheck: new VoterCheck(options, coreStatus, events),
      continueReading: () => inbox.restored()
    }
    equip(handle, this, parts)
    this.#target = new DeliveryTarget(this, parts)
    const inbox = new Inbox(this.#target, replicatedState)
    this.#namesakes = new Namesakes(options, () => this.#state, this.#closed.promise, entry)
    const openCore = prepareCore(options, open, {
      deliver,
      channelThrew: (what, error) => this.hasEnded || events.channelThrew(what, error),
      fault
    })
    nextTick(beginKeepingAlive, this)
    const former = this.#namesakes.closing
    // Opening the core comes last: an exception after it would leave a member that the application cannot close.
    const native = former === undefined ? openCore() : this.#openLate(options, former, openCore)
    this.#native = calls.native = operations.native = native
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

  /** The node was closed before there was a core: nothing has left it. */
  #endUnopened() {
    this.#calls.rejectAll(() => this.endedError('not-applied'))
    this.#end('closed', null)
  }

  get isOpen() {
    return this.#state === 'open'
  }

  get hasEnded() {
    return this.#state === 'closed' || this.#state === 'failed'
  }

  status() {
    return describeStatus(JSON.parse(this.#native.status()), {
      state: this.#state,
      failure: this.#failure,
      isAlive: !this.hasEnded,
      pending: this.#calls.count,
      reducedIndex: this.#replicatedState.reducedIndex
    })
  }

  #waitingFor() {
    const { waitingFor } = JSON.parse(this.#native.status())
    return waitingFor ?? (this.#replicatedState.isReplayed ? null : 'replaying the log')
  }

  setSecret(secret) {
    this.#channel = { ...this.#channel, secret: ringOf(secret) }
    this.#native.setSecrets(JSON.stringify(this.#channel.secret))
    this.#events.warnAll(channelWarnings(this.#channel))
  }

  keepProcessAlive(isWanted) {
    // A closing node must not be interrupted.
    if (this.#state === 'open') {
      if (isWanted) this.#keepAlive?.ref()
      else this.#keepAlive?.unref()
      this.#isKeptAlive = isWanted
    }
    return this.handle
  }

  /** Called a tick after the node was opened. */
  beginKeepingAlive() {
    if (this.#state === 'new' || this.hasEnded) return
    this.#keepAlive = new KeepAlive()
    if (this.#isKeptAlive) this.#keepAlive.ref()
    this.#namesakes.add()
    this.#membership.check()
    this.#events.warnAll(channelWarnings(this.#channel))
  }

  // How it ends.

  /** Returns a promise, unless `callback` is called instead. */
  close(timeout, leave, callback) {
    if (this.hasEnded) return this.#hasClosed(callback)
    if (this.#state === 'open') {
      // Earlier calls reach the core first.
      this.#calls.flush()
      // It may have been opened in this very turn.
      this.#namesakes.add()
      nextTick(beginClosing, this)
      this.#native.close(timeout, leave)
      // No function is called below, so that a close that has begun is always recorded.
      this.#state = 'closing'
      this.#closeTimeout = timeout
      this.#events.isMuted = true
      this.#replicatedState.subscribers.isSilent = true
      this.#replicatedState.selections.isSilent = true
    }
    if (callback === undefined) return this.#closed.promise
    this.#closeCallbacks[this.#closeCallbacks.length] = callback
    return undefined
  }

  #hasClosed(callback) {
    if (callback === undefined) return this.#closed.promise
    nextTick(callback, null)
    return undefined
  }

  /** The rest of the close, a tick later: the call itself may have been cut off. */
  beginClosing() {
    if (this.#state !== 'closing') return
    this.#leaderWork.end()
    this.#ready.reject(() => this.endedError('not-applied'))
    // Even an unref'd node closes before the process exits, within the timeout.
    this.#keepAlive.ref()
    const limit = Math.min(this.#closeTimeout + CLOSE_GRACE_MS, TIMEOUT_MAX)
    this.#closeTimer ??= setTimeout(giveUpClosing, limit, this)
  }

  /** Stops waiting for a hanging disk or a log that is still being read. */
  giveUpClosing() {
    this.crash()
  }

  /** The core has stopped. */
  stopped(code, message) {
    if (code !== null) this.#fail(errors.ofNode(code, message, this.#channel, this.#namesakes))
    else if (this.#state === 'closing') this.#end('closed', null)
    else this.#fail(errors.internal('the core stopped without a reason'))
  }

  /** An exception that only a bug can cause. */
  fault(error) {
    this.#fail(errors.internal(error))
  }

  /** The state stays readable; whatever is pending is rejected; the others elect a leader without this node. */
  #fail(error) {
    if (this.hasEnded) return
    this.#native.kill()
    this.#end('failed', error)
  }

  #end(state, failure) {
    this.#state = state
    this.#failure = failure
    this.#keepAlive?.end()
    this.#membership.end()
    this.#leaderWork.end()
    this.#namesakes.remove()
    if (this.#closeTimer !== undefined) clearTimeout(this.#closeTimer)
    this.#replicatedState.end()
    this.#evaluations.nextTimer(null)
    this.#replicatedState.dropProvisional()
    this.#replicatedState.subscribers.clear()
    this.#replicatedState.selections.clear()
    this.#replicatedState.commits.end(failure === null ? undefined : this.endedError('unknown'))
    this.#ready.reject(() => this.endedError('not-applied'))
    this.#target.rejectCalls(outcome => this.endedError(outcome))
    this.#operations.rejectAll(() => this.endedError('unknown'))
    this.#events.isMuted = false
    if (failure !== null) this.#events.failed(failure)
    this.#events.emit('close')
    this.#closed.resolve()
    for (const callback of this.#closeCallbacks.splice(0)) nextTick(callback, null)
  }

  endedError(outcome) {
    return this.#failure === null ? errors.closed(outcome) : errors.failed(this.#failure, outcome)
  }

  // What the tests of an application do to it (`test-cluster.js`).

  /** Ends the node as if its process had been killed: no other node is notified. */
  crash() {
    if (this.hasEnded) return
    this.#native.kill()
    this.#end('closed', null)
  }

  /** While it is isolated, the channel loses each frame from and to this node. */
  setIsolated(isIsolated) {
    this.#native.setIsolated(isIsolated)
  }
}

// For ticks and timers, so that they need no closure.

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
