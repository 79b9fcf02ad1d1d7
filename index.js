// The package: `require('conflux')` is the function that opens a node. Its types are in index.d.ts.

'use strict'

require('./lib/node-version')

const errors = require('./lib/errors')
const { open } = require('./lib/native')
const { Node } = require('./lib/node')
const options = require('./lib/options')

module.exports = function conflux(given) {
  try {
    return new Node(options.check(given), open, conflux).handle
  } catch (error) {
    // At the end of the stack, V8 may throw nothing at all.
    throw error == null ? new RangeError('Maximum call stack size exceeded') : error
  }
}

module.exports.isPerformError = errors.isOfPerform
