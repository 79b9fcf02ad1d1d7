// Creates a promise that other code settles.

'use strict'

const { Promise } = require('./environment')

const noop = () => {}

/** One function for all promises, instead of a closure for each. */
let resolveNew
let rejectNew
function capture(resolve, reject) {
  resolveNew = resolve
  rejectNew = reject
}

class Deferred {
  promise
  resolve
  reject

  constructor() {
    resolveNew = undefined
    this.promise = new Promise(capture)
    // If the stack has no room for `capture`, the promise is a rejected one, and these functions belong to another.
    if (resolveNew === undefined) {
      this.promise.catch(noop)
      throw new RangeError('Maximum call stack size exceeded')
    }
    this.resolve = resolveNew
    this.reject = rejectNew
  }
}

module.exports = { Deferred }
