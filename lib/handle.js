// The public handle of a node: the functions that the application calls.
//
// Made by node.js. A node that is not open refuses calls here; an open one passes them on to its parts.

'use strict'

const { closeOptions } = require('./call-options')
const { trace } = require('./call-trace')
const { bind } = require('./callback')
const diagnostics = require('./diagnostics')
const { Promise, nextTick } = require('./environment')
const errors = require('./errors')
const { showAsStatus } = require('./inspect')
const { shown } = require('./kind')

/**
 * Gives `handle` the functions of an open node. Each of them is bound: `const { perform } = node` works.
 *
 * @param handle an emitter.
 * @param node what opens and ends: `isOpen`, `endedError(outcome)`, `close(…)`, `status()` and more.
 * @param parts those of the node; `coreStatus` returns the status of the core.
 */
function equip(handle, node, parts) {
  const calls = new HandleCalls(handle, node, parts)
  const { application, replicatedState, timers, evaluations, leaderWork, coreStatus } = parts
  const { subscribers, selections, commits } = replicatedState
  handle.perform = (method, args, options, callback) => calls.perform(method, args, options, callback)
  handle.schedule = (...args) => calls.changeTimers('schedule', args)
  handle.unschedule = (...args) => calls.changeTimers('unschedule', args)
  handle.timers = () => timers.list()
  handle.subscribe = (listener, options) => calls.ifOpen(() => subscribers.add(listener, options))
  handle.watch = (selector, listener, options) =>
    calls.ifOpen(() => selections.add(selector, listener, options))
  handle.commits = options => calls.ifOpen(() => commits.iterate(options))
  handle.getState = () => application.show(replicatedState.committed)
  handle.getProvisionalState = () => application.show(replicatedState.provisional)
  handle.close = (options, callback) => calls.close(options, callback)
  handle.status = () => node.status()
  handle.ready = options => calls.ready(options)
  handle.sync = options => calls.operate('sync', [options])
  handle.transferLeadership = (id, options) => calls.operate('transferLeadership', [id, options])
  handle.remove = (id, options) => calls.operate('remove', [id, options])
  handle.resize = (clusterSize, options) => calls.operate('resize', [clusterSize, options])
  handle.recover = options => calls.operate('recover', [options])
  handle.setSecret = secret => calls.ifOpen(() => node.setSecret(secret))
  handle.sessions = () => evaluations.sessions(() => coreStatus().sessions)
  handle.whileLeader = run => calls.ifOpen(() => leaderWork.add(run))
  handle.ref = () => node.keepProcessAlive(true)
  handle.unref = () => node.keepProcessAlive(false)
  // Before Node 20.4 the symbol does not exist.
  if (Symbol.asyncDispose !== undefined) {
    Object.defineProperty(handle, Symbol.asyncDispose, { value: () => calls.close() })
  }
  showAsStatus(handle)
}

/** Checks the calls of a handle, and passes them on. */
class HandleCalls {
  #handle
  #node
  #id
  #isDurable
  #application
  #calls
  #operations
  #timers
  #ready
  #log

  constructor(handle, node, { id, isDurable, application, calls, operations, timers, ready, log }) {
    this.#handle = handle
    this.#node = node
    this.#id = id
    this.#isDurable = isDurable
    this.#application = application
    this.#calls = calls
    this.#operations = operations
    this.#timers = timers
    this.#ready = ready
    this.#log = log
  }

  perform(method, args, options, callback) {
    if (typeof options === 'function') {
      if (typeof callback === 'object' && callback !== null) return this.#refuseLateOptions(options)
      // Anything else behind a callback counts for nothing, as in 1.x.
      callback = options
      options = undefined
    }
    if (!diagnostics.isCallTraced() && !this.#log.isDebugging)
      return this.#call(method, args, options, callback)
    const isCallback = typeof callback === 'function'
    const traced = { node: this.#handle, id: this.#id, method, args }
    return trace(traced, isCallback ? callback : undefined, this.#log, traced =>
      this.#call(method, args, options, isCallback ? traced : callback)
    )
  }

  /** A timeout that counted for nothing would be missed when it is needed. */
  #refuseLateOptions(callback) {
    this.#application.forbidInside('perform')
    nextTick(callback, errors.invalidCall('the options of `perform` come before the callback'))
    return undefined
  }

  #call(method, args, options, callback) {
    this.#application.forbidInside('perform')
    const isCallback = typeof callback === 'function'
    try {
      if (!this.#node.isOpen) throw this.#node.endedError('not-applied')
      if (callback !== undefined && callback !== null && !isCallback) {
        throw errors.invalidCall(`the callback must be a function, got ${shown(callback)}`)
      }
      return this.#calls.add(method, args, options, isCallback ? callback : undefined, this.#handle.perform)
    } catch (thrown) {
      const error = errors.isOwn(thrown) ? thrown : errors.notStarted('perform', thrown)
      if (!isCallback) return Promise.reject(error)
      nextTick(callback, error)
      return undefined
    }
  }

  changeTimers(name, args) {
    this.#application.forbidInside(name)
    return this.#whileOpen(name, () => this.#timers[name](args, this.#handle[name]))
  }

  operate(name, args) {
    this.#application.forbidInside(name)
    return this.#whileOpen(name, () => {
      // Earlier calls reach the core first.
      this.#calls.flush()
      return this.#operations[name](...args, this.#handle[name])
    })
  }

  ready(options) {
    return this.#whileOpen('ready', () => this.#ready.wait(options, this.#handle.ready))
  }

  close(options, callback) {
    if (typeof options === 'function') {
      callback = options
      options = undefined
    }
    this.#application.forbidInside('close')
    const { timeout, leave } = closeOptions(options, !this.#isDurable)
    if (callback !== undefined && callback !== null && typeof callback !== 'function') {
      throw errors.invalidArgument(`the callback of \`close\` must be a function, got ${shown(callback)}`)
    }
    return this.#node.close(timeout, leave, callback ? bind(callback) : undefined)
  }

  /** What `begin` returns, while the node is open. */
  ifOpen(begin) {
    if (!this.#node.isOpen) throw this.#node.endedError('not-applied')
    return begin()
  }

  /** The promise that `begin` returns, or one that is rejected with what it throws. */
  #whileOpen(name, begin) {
    try {
      return this.ifOpen(begin)
    } catch (error) {
      return Promise.reject(errors.isOwn(error) ? error : errors.notStarted(name, error))
    }
  }
}

module.exports = { equip }
