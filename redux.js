// `conflux/redux`: a store of Redux on every node. Its types are in redux.d.ts.

'use strict'

require('./lib/node-version')

const { storeOptions } = require('./lib/redux-options')
const { toStore } = require('./lib/redux-store')

module.exports = { storeOptions, toStore }
