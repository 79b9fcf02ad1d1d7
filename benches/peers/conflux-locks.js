/**
 * The nodes of `locks`: three voters, and further nodes, with the locks of conflux/recipes.
 */
'use strict'

const { compose, locks } = require('../../recipes')

const VOTERS = 3
/** As the others have it. */
const LEASE_MS = 10_000

function connect({ id, channels }) {
  const conflux = require('../..')
  const node = conflux({ id, clusterSize: VOTERS, channel: channels[id], ...compose({ locks: locks() }) })
  const mutex = locks.client(node, 'locks')
  return {
    acquire: async key => {
      const lock = await mutex.acquire(key, { duration: LEASE_MS })
      return () => lock.release()
    }
  }
}

module.exports = { connect }
