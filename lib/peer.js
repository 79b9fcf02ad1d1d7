// Loads a package that the application has to install beside conflux, because it is an optional peer.
//
// Used for socket.io and rate-limiter-flexible. Bundlers see no name here: they would report that the package is
// missing.

'use strict'

const { createRequire } = require('node:module')
const path = require('node:path')
const { process } = require('./environment')
const errors = require('./errors')

/**
 * @param major of the version that is needed.
 * @param what needs it, for the text of the error.
 */
function loadPeer(name, major, what) {
  let found = 'it is not installed'
  for (const from of places()) {
    try {
      const requireThere = createRequire(from)
      const { version } = requireThere(`${name}/package.json`)
      if (Number.parseInt(version, 10) === major) return requireThere(name)
      found = `version ${version} is installed`
    } catch (error) {
      if (error?.code !== 'MODULE_NOT_FOUND') found = errors.messageOf(error)
    }
  }
  throw errors.invalidOptions([
    `${what} needs the package ${name} ${major}: \`npm install ${name}@${major}\` (${found})`
  ])
}

/** This package, then the application: a linked package is elsewhere. */
function places() {
  // There is none in a bundle that is an ES module.
  const here = typeof __filename === 'string' ? [__filename] : []
  const main = process.argv[1] === undefined ? [] : [path.resolve(process.argv[1])]
  return [...here, ...main, path.join(process.cwd(), 'index.js')]
}

module.exports = { loadPeer }
