// Takes what lib/ needs from Node, once, when it is loaded.
//
// No other file of lib/ names a global of Node (`environment.test.js` verifies that). Tests of applications replace
// timers, clocks and ticks; a node that is open meanwhile continues by the real ones. What is replaced later is not
// seen here. What was replaced before is recognized, and JavaScript's own means take its place.

'use strict'

const { AsyncResource } = require('node:async_hooks')
const { Buffer } = require('node:buffer')
const { writeSync } = require('node:fs')
const { uptime } = require('node:os')
const { performance } = require('node:perf_hooks')
const process = require('node:process')
const timers = require('node:timers')
const { MessageChannel } = require('node:worker_threads')

const STDERR = 2

const { AbortController, encodeURIComponent } = globalThis

/** The `Promise` of the language: a global `Promise` may be that of a library. */
const Promise = (async () => {})().constructor

const resolved = Promise.resolve()

const { then } = Promise.prototype

/** Like the global function, but without a resource for async hooks, which no task of conflux needs: half the time. */
const queueMicrotask = task => void Reflect.apply(then, resolved, [task])

/** Node gives everything that it schedules an asynchronous id; a library of fake timers does not. */
function isGenuine(schedule) {
  try {
    const before = new AsyncResource('ConfluxProbe').asyncId()
    schedule()
    return new AsyncResource('ConfluxProbe').asyncId() > before + 1
  } catch {
    return false
  }
}

const noop = () => {}

const { setInterval } = timers

/** A timer of JavaScript itself, to the millisecond. It does not keep the process alive: an open node does. */
class Alarm {
  #cell = new Int32Array(new SharedArrayBuffer(4))
  #isCleared = false

  constructor(task, ms, args) {
    // A time of 0 would be over at once, within this call.
    Atomics.waitAsync(this.#cell, 0, 0, Math.max(1, ms)).value.then(() => {
      if (!this.#isCleared) task(...args)
    })
  }

  clear() {
    this.#isCleared = true
    Atomics.notify(this.#cell, 0)
  }

  unref() {
    return this
  }
}

const own = {
  nextTick: (task, ...args) => queueMicrotask(() => task(...args)),
  setImmediate: (task, ...args) => new Alarm(task, 1, args),
  setTimeout: (task, ms, ...args) => new Alarm(task, ms, args),
  clearTimeout: alarm => alarm?.clear()
}

const { nextTick } = isGenuine(() => process.nextTick(noop)) ? process : own
const { setImmediate } = isGenuine(() => timers.clearImmediate(timers.setImmediate(noop))) ? timers : own
const { setTimeout, clearTimeout } = isGenuine(() => timers.clearTimeout(timers.setTimeout(noop, 1)))
  ? timers
  : own

/** Milliseconds that only rise. A stub is most often put on the object itself, before its prototype. */
const now = (Object.getPrototypeOf(performance)?.now ?? performance.now).bind(performance)

/** For dates and time zones, which only timers need. */
const { Date, Intl } = globalThis

/** Milliseconds since 1970 by the clock of this machine; without a `Date`, by that clock when the process began. */
const wallClock = globalThis.Date?.now ?? (() => performance.timeOrigin + now())

const NEVER_MS = 2147483647

/** Keeps the process alive while it is referenced; it begins without that. A port, where timers are replaced. */
class KeepAlive {
  #handle = setTimeout === own.setTimeout ? new MessageChannel().port1 : setInterval(noop, NEVER_MS).unref()

  ref() {
    this.#handle.ref()
  }

  unref() {
    this.#handle.unref()
  }

  end() {
    if (setTimeout === own.setTimeout) this.#handle.close()
    else clearTimeout(this.#handle)
  }
}

/** `process.stderr` would report a closed pipe as an uncaught exception. */
function writeError(text) {
  try {
    writeSync(STDERR, text)
  } catch {
    // The reading end is closed.
  }
}

function emitWarning(text, options) {
  try {
    process.emitWarning(text, options)
  } catch {
    // It is replaced by something that throws.
  }
}

/** From now on the process reports a failure when it ends without an exit code of its own. */
function reportFailure() {
  process.exitCode ??= 1
}

module.exports = {
  AbortController,
  Buffer,
  Date,
  Intl,
  KeepAlive,
  Promise,
  clearTimeout,
  emitWarning,
  encodeURIComponent,
  nextTick,
  now,
  process,
  queueMicrotask,
  reportFailure,
  setImmediate,
  setTimeout,
  uptime,
  wallClock,
  writeError
}
