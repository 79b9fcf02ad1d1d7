// `conflux/testing`: a cluster in the process of an application's test. Its types are in testing.d.ts.

'use strict'

require('./lib/node-version')

const { cluster } = require('./lib/test-cluster')

module.exports = { cluster }
