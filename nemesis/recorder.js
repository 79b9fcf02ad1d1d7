/**
 * Writes the history of one process, one JSON array a line.
 *
 * Used by `process.js`; `history.js` reads it. The kernel has a line when a function returns, so that a kill loses
 * none; the clock is the machine's monotonic one, which all processes share and no fault moves.
 *
 * | line | meaning |
 * |---|---|
 * | `i`, time, id, method, arguments | a call is about to be made |
 * | `a`, time, id, action | it was acknowledged with that action |
 * | `x`, time, id, outcome, code, seen, digest, value | it was rejected; what the method saw, if it did |
 * | `s`, time, count, id, digest, earlier | this node's state has so many actions; the last is that, and before came … |
 * | `r`, invoked, time, count, digest, key, values | `sync()` and then a read |
 * | `e`, time, code, message | something worth telling |
 * | `f`, time, code, message | the node failed, or has diverged |
 *
 * Of the workload `locks`:
 *
 * | line | meaning |
 * |---|---|
 * | `g`, time, key, token, session, until | a client has a lock: by a session, or by a lease that it relies on until then |
 * | `q`, time, token, is valid | it is about to release it; whether it took it for valid |
 * | `d`, time, id, session, reason | this node applied the end of a session |
 */
'use strict'

const fs = require('node:fs')

class Recorder {
  #file

  constructor(path) {
    this.#file = fs.openSync(path, 'a')
  }

  /** Microseconds. */
  now() {
    return Number(process.hrtime.bigint() / 1000n)
  }

  invoked(id, method, args) {
    return this.#write('i', id, method, args)
  }

  acknowledged(id, action) {
    this.#write('a', id, action)
  }

  rejected(id, { outcome, code, seen, digest, value }) {
    this.#write('x', id, outcome, code, seen, digest, value)
  }

  state(count, last, digest, earlier) {
    this.#write('s', count, last, digest, earlier)
  }

  read(invokedAt, { count, digest, lists, registers, locks, counters, queues }, key) {
    const values = [lists, registers, locks, counters, queues].map(things => things[key] ?? null)
    const now = this.now()
    this.#line(['r', invokedAt, now, count, digest, key, values])
  }

  granted(key, token, session, until) {
    this.#write('g', key, token, session, until)
  }

  ended(token, isValid) {
    this.#write('q', token, isValid)
  }

  sessionEnded(id, session, reason) {
    this.#write('d', id, session, reason)
  }

  event(code, message) {
    this.#write('e', code, message)
  }

  fault(code, message) {
    this.#write('f', code, message)
  }

  #write(kind, ...facts) {
    const now = this.now()
    this.#line([kind, now, ...facts])
    return now
  }

  #line(line) {
    fs.writeSync(this.#file, `${JSON.stringify(line)}\n`)
  }
}

module.exports = { Recorder }
