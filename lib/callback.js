// Binds a callback of the application to the async context of its caller.

'use strict'

const { AsyncResource } = require('node:async_hooks')

/**
 * As what awaits a promise does, the callback runs in the context (AsyncLocalStorage) in which it was given.
 *
 * `AsyncResource.bind` would read the function's `name`, which is the application's and may throw.
 */
function bind(callback) {
  const resource = new AsyncResource('ConfluxCallback')
  return (...values) => resource.runInAsyncScope(callback, undefined, ...values)
}

module.exports = { bind }
