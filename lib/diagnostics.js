// Publishes what happens in nodes to the channels of `node:diagnostics_channel`. docs/observability.md lists
// them.
//
// Used by every part that publishes. A channel without a subscriber costs a read of one property.

'use strict'

const { channel, tracingChannel } = require('node:diagnostics_channel')

/** A call, from its start to its outcome: `tracing:conflux:call:start`, `…:asyncEnd` and so on. */
const call = tracingChannel('conflux:call')
const { start, end, asyncStart, asyncEnd, error } = call

const election = channel('conflux:election')
const membership = channel('conflux:membership')
const snapshot = channel('conflux:snapshot')
const warning = channel('conflux:warning')

/** Before Node 20.13, the five have no such property in common. */
function isCallTraced() {
  return (
    start.hasSubscribers ||
    asyncEnd.hasSubscribers ||
    error.hasSubscribers ||
    end.hasSubscribers ||
    asyncStart.hasSubscribers
  )
}

module.exports = { call, election, isCallTraced, membership, snapshot, warning }
