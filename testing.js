// `conflux/testing`: a cluster in the process of an application's test, and tests of an application's own channel. Its
// types are in testing.d.ts.

'use strict'

require('./lib/node-version')

const { channelContract } = require('./lib/channel-contract')
const { cluster } = require('./lib/test-cluster')

module.exports = { channelContract, cluster }
