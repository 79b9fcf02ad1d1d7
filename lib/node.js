// This file is a node: it lets the core's deliveries act on the state, the performs and the asks.
//
// Called by index.js, which hands out its public face, and by `deliveries.js` for each delivery. Nothing that an
// application throws may leave `deliver`: what does is a bug, and ends this node, never the process.

'use strict'

const { Application } = require('./application')
const { Asks } = require('./asks')
const { callOptions } = require('./call-options')
const { CallStacks } = require('./call-stack')
const { trace } = require('./call-trace')
const { bind } = require('./callback')
const { copyWarning } = require('./copy-check')
const { credentialsOf } = require('./credentials')
const { Deferred } = require('./deferred')
const diagnostics = require('./diagnostics')
const { Emitter } = require('./emitter')
const { KeepAlive, Promise, clearTimeout, nextTick, queueMicrotask, setTimeout } = require('./environment')
const errors = require('./errors')
const { decodeError } = require('./evaluation')
const { Events } = require('./events')
const { Inbox } = require('./inbox')
const { showAsStatus } = require('./inspect')
const { LateNative } = require('./late-native')
const { Log } = require('./log')
const { MembershipWatch } = require('./membership-watch')
const { Namesakes } = require('./namesakes')
const { nativeOptions } = require('./native-options')
const { Performs } = require('./performs')
const { Ready } = require('./ready')
const { Replica } = require('./replica')
const { TIMEOUT_MAX } = require('./timeout')

const CLOSE_TIMEOUT_DEFAULT = 2000

/** The core ends a close in its time; after so much more, something else holds it up: a disk, or a log that is long. */
const CLOSE_GRACE_MS = 250

const NO_STATES = []

class Node {
  /** What the application holds: `this` in its methods. */
  face
  #application
  #replica
  #native
  #performs
  #asks
  #ready
  #events
  #keepAlive = null
  /** What `ref` and `unref` said last. */
  #isKeptAlive = true

  /** `open`, `closing`, then `closed` or `failed`; `new` while it is made. */
  #state = 'new'
  #failure = null
  #role = 'follower'
  #term = 0
  #leader = null
  #answers = []
  /** The lengths of their texts. */
  #answersLength = 0
  #inbox
  #isCaughtUp = false
  /** Calls that ended with a failure of this node, and what became of each: told when it has stopped. */
  #lost = []
  /** The batch held an action of this node. */
  #hasPerformed = false
  #onThrown = (what, method, error) => this.#events.threw(what, method, error)
  #afterMicrotasks = () => nextTick(turnOver, this)
  #isDurable
  #channel
  #id
  #log
  #membership
  #namesakes

  #closed = new Deferred()
  #closeCallbacks = []
  #closeTimeout = 0
  #closeTimer = undefined

  /** @param open what `binding.js` exports. Throws if the reducer has no initial state or the core cannot start. */
  constructor(options, open) {
    this.#isDurable = options.storage !== undefined
    this.#channel = options.channel
    this.#id = options.id
    this.face = this.#makeFace()
    this.#log = new Log(options.id, options.logger)
    this.#membership = new MembershipWatch(this.face, this.#log)
    this.#events = new Events(options.id, this.face, this.#log)
    this.#application = new Application(options)
    this.#replica = new Replica(
      this.#application,
      {
        isReplayed: !this.#isDurable,
        readLog: (from, until) => JSON.parse(this.#native.commits(from, until))
      },
      (index, why) => this.#native.reducerFailed(index, why),
      (index, characters) => this.#tellSnapshot('restored', { index, characters })
    )
    this.#inbox = new Inbox(this, this.#replica)
    const stacks = new CallStacks(options.captureStacks)
    this.#performs = new Performs(
      options,
      stacks,
      batch => this.#inbox.deliver(batch, NO_STATES),
      error => this.#fail(errors.internal(error)),
      () => this.#waitingFor()
    )
    this.#asks = new Asks(options, stacks)
    this.#ready = new Ready(
      () => this.#waitingFor(),
      () => JSON.parse(this.#native.status()).faultTolerance,
      stacks
    )
    this.#namesakes = new Namesakes(options, () => this.#state, this.#closed.promise)
    const text = nativeOptions(options)
    const credentials = credentialsOf(options.channel)
    const deliver = (batch, states) => this.#inbox.deliver(batch, states)
    nextTick(beginKeepingAlive, this)
    const former = this.#namesakes.closing
    // Opening the core comes last: an exception after it would leave a member that the application cannot close.
    const native =
      former === undefined
        ? openCore(open, text, deliver, credentials)
        : this.#openLate(options, former, () => openCore(open, text, deliver, credentials))
    this.#native = this.#performs.native = this.#asks.native = native
    this.#state = 'open'
  }

  /** The core is opened once a former node of the same id has ended. */
  #openLate(options, former, open) {
    return new LateNative(options, former, open, {
      opened: native => {
        this.#native = this.#performs.native = this.#asks.native = native
      },
      failed: error => this.#fail(error),
      stopped: () => this.#endUnopened()
    })
  }

  /** Closed before there was a core: nothing has left this node. */
  #endUnopened() {
    this.#performs.rejectAll(() => this.#endedError('not-applied'))
    this.#end('closed', null)
  }

  /** Every function of it stands for itself: `const { perform } = node` works. */
  #makeFace() {
    const face = new Emitter()
    face.perform = (method, args, options, callback) => this.#perform(method, args, options, callback)
    face.subscribe = listener => this.#subscribe(listener)
    face.watch = (selector, listener, options) => this.#watch(selector, listener, options)
    face.commits = options => this.#commits(options)
    face.getState = () => this.#application.show(this.#replica.committed)
    face.getProvisionalState = () => this.#application.show(this.#replica.provisional)
    face.close = (options, callback) => this.#close(options, callback)
    face.status = () => this.#status()
    face.ready = options => this.#whenReady(options)
    face.sync = options => this.#ask('sync', [options])
    face.transferLeadership = (id, options) => this.#ask('transferLeadership', [id, options])
    face.remove = (id, options) => this.#ask('remove', [id, options])
    face.resize = (clusterSize, options) => this.#ask('resize', [clusterSize, options])
    face.recover = options => this.#ask('recover', [options])
    face.ref = () => this.#keepProcessAlive(true)
    face.unref = () => this.#keepProcessAlive(false)
    // Where there is none (before Node 20.4), nothing can ask for it.
    if (Symbol.asyncDispose !== undefined) {
      Object.defineProperty(face, Symbol.asyncDispose, { value: () => this.#close() })
    }
    showAsStatus(face)
    return face
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
    const traced = { node: this.face, id: this.#id, method, args }
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
      return this.#performs.add(method, args, options, isCallback ? callback : undefined, this.face.perform)
    } catch (thrown) {
      const error = errors.isOwn(thrown) ? thrown : errors.notStarted('perform', thrown)
      if (!isCallback) return Promise.reject(error)
      nextTick(callback, error)
      return undefined
    }
  }

  #subscribe(listener) {
    if (this.#state !== 'open') throw this.#endedError('not-applied')
    return this.#replica.subscribers.add(listener)
  }

  #watch(selector, listener, options) {
    if (this.#state !== 'open') throw this.#endedError('not-applied')
    return this.#replica.selections.add(selector, listener, options)
  }

  #commits(options) {
    if (this.#state !== 'open') throw this.#endedError('not-applied')
    return this.#replica.commits.iterate(options)
  }

  #ask(name, args) {
    this.#application.forbidInside(name)
    return this.#whileOpen(name, () => {
      // What was performed before is told to the core before.
      this.#performs.flush()
      return this.#asks[name](...args, this.face[name])
    })
  }

  #whenReady(options) {
    return this.#whileOpen('ready', () => this.#ready.wait(options, this.face.ready))
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
      // What was performed before is told to the core before.
      this.#performs.flush()
      // It may have been opened in this very turn.
      this.#namesakes.add()
      nextTick(beginClosing, this)
      this.#native.close(timeout, leave)
      // No call below: a close that has begun is known to have.
      this.#state = 'closing'
      this.#closeTimeout = timeout
      this.#events.isMuted = true
      this.#replica.subscribers.isSilent = true
      this.#replica.selections.isSilent = true
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
    this.#ready.reject(() => this.#endedError('not-applied'))
    // Also an unref'd node takes its leave before the process exits; that is bounded in time.
    this.#keepAlive.ref()
    const limit = Math.min(this.#closeTimeout + CLOSE_GRACE_MS, TIMEOUT_MAX)
    this.#closeTimer ??= setTimeout(giveUpClosing, limit, this)
  }

  /** A disk that hangs, or a log that is still being read, is left to itself. */
  giveUpClosing() {
    this.crash()
  }

  // What the tests of an application do to it (`test-cluster.js`).

  /** As if this process had been killed: no other node is told. */
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
    const core = JSON.parse(this.#native.status())
    const isAlive = !this.hasEnded
    const missing = isAlive ? core.missing : []
    return {
      id: core.id,
      incarnation: core.incarnation,
      state: this.#state,
      failure: this.#failure && { code: this.#failure.code, message: this.#failure.message },
      fenced: core.fenced,
      cluster: core.cluster,
      clusterSize: core.clusterSize,
      role: isAlive ? core.role : 'follower',
      leader: isAlive ? core.leader : null,
      term: core.term,
      commitIndex: core.commitIndex,
      appliedIndex: core.appliedIndex,
      lastIndex: core.lastIndex,
      snapshotIndex: core.snapshotIndex,
      quorum: { lost: missing.length > 0, missing },
      faultTolerance: isAlive ? core.faultTolerance : 0,
      members: core.members,
      pending: this.#performs.count,
      waitingFor: isAlive ? core.waitingFor : null,
      caughtUp: isAlive && core.caughtUp
    }
  }

  #waitingFor() {
    const { waitingFor } = JSON.parse(this.#native.status())
    return waitingFor ?? (this.#replica.isReplayed ? null : 'replaying the log')
  }

  #keepProcessAlive(isWanted) {
    // A node that takes its leave is not to be cut short.
    if (this.#state === 'open') {
      if (isWanted) this.#keepAlive?.ref()
      else this.#keepAlive?.unref()
      this.#isKeptAlive = isWanted
    }
    return this.face
  }

  /** A tick after it was opened, unless it could not be. */
  beginKeepingAlive() {
    if (this.#state === 'new' || this.hasEnded) return
    this.#keepAlive = new KeepAlive()
    if (this.#isKeptAlive) this.#keepAlive.ref()
    this.#namesakes.add()
    this.#membership.check()
    if (this.#channel.name === 'memory') this.#warnOfCopy()
  }

  #warnOfCopy() {
    const warning = copyWarning()
    if (warning !== null) this.#events.warn(warning.code, warning.message, { paths: warning.paths })
  }

  // What the core delivers. `inbox.js` and `deliveries.js` call these, in order.

  /** A batch is done. */
  answered(evaluationMicros) {
    const text = `[${this.#answers.join(',')}]`
    this.#answers = []
    this.#answersLength = 0
    this.#native.answered(text, evaluationMicros)
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

  /** A leader's core waits with its news of a commit for what those who awaited it perform now. */
  #awaitTurn() {
    this.#hasPerformed = false
    // Behind the microtasks of whoever awaited, and behind the flush of what they performed.
    if (this.#role === 'leader') nextTick(queueMicrotask, this.#afterMicrotasks)
  }

  turnOver() {
    if (!this.hasEnded) this.#native.turnOver()
  }

  get hasEnded() {
    return this.#state === 'closed' || this.#state === 'failed'
  }

  role(role, term, leader) {
    if (role !== 'leader' || term !== this.#term) this.#replica.dropProvisional()
    const isNewRole = role !== this.#role
    const isNewLeader = leader !== this.#leader
    const isNewTerm = term !== this.#term
    this.#role = role
    this.#term = term
    this.#leader = leader
    this.#tellReady()
    if ((isNewRole || isNewLeader || isNewTerm) && diagnostics.election.hasSubscribers) {
      diagnostics.election.publish({ node: this.face, id: this.#id, role, term, leader })
    }
    this.#membership.check()
    if (isNewRole) this.#events.emit('role', role)
    if (isNewLeader) this.#events.emit('leader', leader)
  }

  #tellReady() {
    if (this.#leader !== null && this.#replica.isReplayed && this.#isCaughtUp) this.#ready.resolve()
    else this.#ready.reset()
  }

  caughtUp(isCaughtUp) {
    this.#isCaughtUp = isCaughtUp
    this.#tellReady()
  }

  /** Returns the length of the answers so far. */
  evaluate(method, args) {
    const answer = this.#replica.evaluate({ node: this.face, method, args }, this.#onThrown)
    this.#answers.push(answer)
    return (this.#answersLength += answer.length)
  }

  takeSnapshot() {
    const { text, why, micros } = this.#replica.take()
    if (text !== null) this.#native.snapshotTaken(text, micros)
    else this.#native.snapshotFailed(why, micros)
    const milliseconds = micros / 1000
    if (text !== null) this.#tellSnapshot('taken', { characters: text.length, milliseconds })
    else this.#tellSnapshot('failed', { why, milliseconds })
  }

  #tellSnapshot(what, facts) {
    if (diagnostics.snapshot.hasSubscribers) {
      diagnostics.snapshot.publish({ node: this.face, id: this.#id, what, ...facts })
    }
    this.#log.write('debug', `a snapshot was ${what}`, { event: 'snapshot', ...facts })
  }

  hash(index) {
    const { text, micros } = this.#replica.take()
    this.#native.hashed(index, text, micros)
  }

  replayed() {
    this.#replica.replayed()
    this.#tellReady()
  }

  performed(sequence, action, isReduced) {
    this.#hasPerformed = true
    if (isReduced) this.#performs.resolve(sequence, action)
    else this.#performs.reject(sequence, errors.unreduced(this.#replica.obstacle))
  }

  resolve(sequence, action) {
    this.#performs.resolve(sequence, action)
  }

  refused(sequence, data) {
    this.#performs.refuse(sequence, decodeError(data), this.#leader)
  }

  failed(sequence, code, message, outcome) {
    // The node stops with it next: a caller is to find it failed.
    if (errors.isOfNode(code)) this.#lost.push([sequence, outcome])
    else this.#performs.reject(sequence, errors.core(code, message, { outcome }))
  }

  asked(ticket) {
    this.#asks.done(ticket)
  }

  askedInVain(ticket, code, message) {
    if (errors.isOfNode(code)) return
    const facts = code === 'ERR_CONFLUX_NO_QUORUM' ? { waitingFor: this.#waitingFor() } : undefined
    this.#asks.failed(ticket, errors.core(code, message, facts))
  }

  warning(code, message, facts) {
    this.#events.warn(code, message, facts)
  }

  fenced(code, message, index) {
    const { obstacle } = this.#replica
    this.#events.fenced(errors.core(code, message, obstacle?.index === index ? obstacle : { index }))
  }

  healed() {
    this.#events.healed()
  }

  stopped(code, message) {
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
    this.#namesakes.remove()
    if (this.#closeTimer !== undefined) clearTimeout(this.#closeTimer)
    this.#replica.dropProvisional()
    this.#replica.subscribers.clear()
    this.#replica.selections.clear()
    this.#replica.commits.end(failure === null ? undefined : this.#endedError('unknown'))
    this.#ready.reject(() => this.#endedError('not-applied'))
    for (const [sequence, outcome] of this.#lost) this.#performs.reject(sequence, this.#endedError(outcome))
    this.#performs.rejectAll(outcome => this.#endedError(outcome))
    this.#asks.rejectAll(() => this.#endedError('unknown'))
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

function openCore(open, text, deliver, credentials) {
  try {
    return open(text, deliver, credentials)
  } catch (error) {
    throw errors.notOpened(error)
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

/** A node that will not come back under its seat gives it up. */
function closeOptions(options, leaveDefault) {
  const { timeout = CLOSE_TIMEOUT_DEFAULT, leave = leaveDefault } = callOptions(
    options,
    ['timeout', 'leave'],
    errors.invalidArgument
  )
  return { timeout, leave }
}

module.exports = { Node }
