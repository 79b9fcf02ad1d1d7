// Loads the native addon once per process, or reports why that fails and what to do.
//
// `binding.js` is written by `npm run build`; it finds the addon beside itself or in the platform's own package.

'use strict'

const path = require('node:path')
const { faultOf } = require('./addon-file')
const { process } = require('./environment')
const errors = require('./errors')

function load() {
  const fault = faultOfFiles()
  if (fault !== null) throw errors.noBinary(notLoading([fault]))
  try {
    return require('../binding.js')
  } catch (error) {
    throw errors.noBinary(describe(error), error)
  }
}

/** Of the addon beside binding.js, or else of the one in the platform's own package. */
function faultOfFiles() {
  if (process.platform !== 'linux') return null
  const platform = platformName()
  const beside = faultOf(path.join(__dirname, '..', `conflux.${platform}.node`))
  if (beside !== null) return beside
  try {
    return faultOf(require.resolve(`conflux-${platform}`))
  } catch {
    return null
  }
}

function notLoading(reasons) {
  return `conflux has a native addon for ${platformName()}, but it does not load: ${reasons.join('; ')}`
}

function describe(error) {
  const reasons = reasonsOf(error)
  if (reasons.length > 0) return notLoading(reasons)
  const platform = platformName()
  return (
    `conflux has no native addon for ${platform}: install the package conflux-${platform} in the version of ` +
    'conflux (npm does so by itself, unless optional dependencies are omitted), or, in a checkout of the ' +
    `source, build it with \`npm run build\` (${firstLine(error)})`
  )
}

/**
 * `binding.js` tries one place after the other, and chains the messages of what was thrown there as causes, without their
 * codes. That a file is not there, or not meant for this platform, is no reason; whatever else Node says is.
 */
const ABSENCE = /^(Cannot find module|Unsupported) /

function reasonsOf(error) {
  const reasons = new Set()
  for (let cause = error.cause; cause != null; cause = cause.cause) {
    const reason = firstLine(cause)
    if (!ABSENCE.test(reason)) reasons.add(reason)
  }
  return [...reasons]
}

function firstLine(error) {
  return errors.messageOf(error).split('\n')[0]
}

/** As in the names of the packages: `linux-x64-gnu`, `darwin-arm64`, `win32-x64-msvc`. */
function platformName() {
  const name = `${process.platform}-${process.arch}`
  if (process.platform === 'win32') return `${name}-msvc`
  if (process.platform !== 'linux') return name
  return `${name}-${isMusl() ? 'musl' : 'gnu'}`
}

function isMusl() {
  try {
    return process.report.getReport().header.glibcVersionRuntime === undefined
  } catch {
    // Without permission to ask, the more usual.
    return false
  }
}

module.exports = load()
