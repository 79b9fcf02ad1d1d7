// The event emitter of a node: Node's own, except that a listener cannot stop the others, and an 'error' event without
// a listener throws nothing.
//
// Made by node.js, which gives it the functions of a node; events.js emits.

'use strict'

const { EventEmitter, errorMonitor } = require('node:events')
const errors = require('./errors')

/**
 * Every function is bound: `const { on } = node` works. They are listed one by one, which keeps their calls fast in
 * V8.
 */
class Emitter extends EventEmitter {
  on = (event, listener) => super.on(event, listener)
  once = (event, listener) => super.once(event, listener)
  off = (event, listener) => super.off(event, listener)
  addListener = (event, listener) => super.addListener(event, listener)
  removeListener = (event, listener) => super.removeListener(event, listener)
  removeAllListeners = (...event) => super.removeAllListeners(...event)
  prependListener = (event, listener) => super.prependListener(event, listener)
  prependOnceListener = (event, listener) => super.prependOnceListener(event, listener)
  setMaxListeners = count => super.setMaxListeners(count)
  getMaxListeners = () => super.getMaxListeners()
  listeners = event => super.listeners(event)
  rawListeners = event => super.rawListeners(event)
  listenerCount = (event, ...listener) => super.listenerCount(event, ...listener)
  eventNames = () => super.eventNames()

  constructor() {
    super()
    // One for each connection or test is usual: no warning of a leak.
    this.setMaxListeners(0)
    // Hides the fields of Node.
    for (const key of Reflect.ownKeys(this)) {
      if (typeof this[key] !== 'function') Object.defineProperty(this, key, { enumerable: false })
    }
  }

  /** Calls each listener; what one throws surfaces as an uncaught exception, once all have run. */
  emit = (event, ...values) => {
    if (event === 'error') this.emit(errorMonitor, ...values)
    // `EventEmitter.emit` ends at the first that throws. Those of `once` remove themselves.
    const listeners = super.rawListeners(event)
    for (const listener of listeners) {
      try {
        Reflect.apply(listener, this, values)
      } catch (error) {
        errors.surface(error)
      }
    }
    return listeners.length > 0
  }
}

module.exports = { Emitter }
