// Follows a call from its start to its outcome, for subscribers of the tracing channel and for NODE_DEBUG.
//
// Called by handle.js, and only if there is a subscriber or NODE_DEBUG is set.

'use strict'

const diagnostics = require('./diagnostics')
const { now } = require('./environment')

/**
 * Makes a call as `node:diagnostics_channel` traces one.
 *
 * @param call `{ node, id, method, args }`, as subscribers get it. `milliseconds` and `outcome` are added at the end.
 * @param run makes the call, with the callback that it is given.
 */
function trace(call, callback, log, run) {
  const start = now()
  const end = (error, action) => {
    call.milliseconds = now() - start
    call.outcome = outcomeOf(error, action)
    log.call(call, error)
  }
  if (callback !== undefined) {
    const traced = (error, action) => {
      end(error, action)
      callback(error, action)
    }
    return diagnostics.call.traceCallback(run, 0, call, undefined, traced)
  }
  return diagnostics.call.tracePromise(
    () =>
      run(undefined).then(
        action => {
          end(null, action)
          return action
        },
        error => {
          end(error)
          throw error
        }
      ),
    call
  )
}

function outcomeOf(error, action) {
  if (error) return error.outcome
  return action === undefined ? 'nothing' : 'committed'
}

module.exports = { trace }
