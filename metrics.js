// `conflux/metrics`: figures of nodes for Prometheus, by prom-client. Its types are in metrics.d.ts.

'use strict'

require('./lib/node-version')

const { collectMetrics } = require('./lib/metrics')

module.exports = { collectMetrics }
