// This file loads the native addon, once per process, or says what to do where there is none.
//
// `binding.js` is written by `npm run build`; it finds the addon beside itself or in the platform's own package.

'use strict'

const errors = require('./errors')

function load() {
  try {
    return require('../binding.js')
  } catch (error) {
    const platform = platformName()
    throw errors.noBinary(
      `conflux has no native addon for ${platform}: install the package conflux-${platform} in the version of ` +
        'conflux (npm does so by itself, unless optional dependencies are omitted), or, in a checkout of the ' +
        `source, build it with \`npm run build\` (${errors.messageOf(error).split('\n')[0]})`,
      error
    )
  }
}

/** As in the names of the packages: `linux-x64-gnu`, `darwin-arm64`, `win32-x64-msvc`. */
function platformName() {
  const name = `${process.platform}-${process.arch}`
  if (process.platform === 'win32') return `${name}-msvc`
  if (process.platform !== 'linux') return name
  const { glibcVersionRuntime } = process.report.getReport().header
  return `${name}-${glibcVersionRuntime === undefined ? 'musl' : 'gnu'}`
}

module.exports = load()
