// Rejects a version of Node that is too old with a clear message, before it parses syntax that it does not know.
//
// Required first by each entry point. It and they are written so that a Node of any age can read them.

'use strict'

const versions = require('process').versions

const major = Number(versions.node.split('.')[0])

if (major < 20) {
  throw new Error('conflux needs Node 20 or newer; this is Node ' + versions.node + ': https://nodejs.org')
}
