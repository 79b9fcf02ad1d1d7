// Finds a second copy of conflux in this process: its nodes and ours do not meet on the memory channel.
//
// Called by channel-warnings.js for each node on that channel. Two packages that each bring conflux in another
// version are the usual cause.

'use strict'

const { realpathSync } = require('node:fs')
const { process } = require('./environment')
const { addon, root } = require('./native')

/** Of the process: it holds the first copy that opened a node, and whether a second copy was reported. */
const KEY = Symbol.for('conflux.memoryChannel')

/** Nodes meet where they share the addon. */
const own = { addon: realPath(addon), root: realPath(root) }

function realPath(given) {
  try {
    return realpathSync(given)
  } catch {
    return given
  }
}

/** The folder of another copy that has opened a node, if it was not reported before; else null. */
function takeOtherCopy() {
  if (process[KEY] === undefined) {
    Object.defineProperty(process, KEY, { value: { first: own, isTold: false } })
  }
  const noted = process[KEY]
  if (noted.first.addon === own.addon || noted.isTold) return null
  noted.isTold = true
  return noted.first.root
}

/** `{ code, message, paths }`, or null: what to warn of. */
function copyWarning() {
  const other = takeOtherCopy()
  if (other === null) return null
  return {
    code: 'WARN_CONFLUX_TWO_COPIES',
    message:
      `two copies of conflux are loaded in this process, and their nodes do not meet on the memory channel: ${other} ` +
      `and ${own.root}`,
    paths: [other, own.root]
  }
}

module.exports = { copyWarning }
