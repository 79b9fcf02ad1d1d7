// Defines how `console.log` and `JSON.stringify` show a node.
//
// Called by handle.js. Neither shows the state: it may be large, and does not belong into logs.

'use strict'

const { inspect } = require('node:util')

/** @param handle what the application holds. */
function showAsStatus(handle) {
  const show = (depth, options) => {
    const { id, ...status } = handle.status()
    if (depth < 0) return options.stylize(`[Node ${id}]`, 'special')
    const members = status.members.map(({ id, voter }) => (voter ? id : `${id} (learner)`))
    return `Node ${inspect(id, options)} ${inspect({ ...status, members }, options)}`
  }
  Object.defineProperties(handle, {
    [inspect.custom]: { value: show },
    toJSON: { value: () => handle.status() }
  })
}

module.exports = { showAsStatus }
