// Loads the native addon once per process, or reports why that fails and what to do.
//
// `binding.js` is written by `npm run build`; it finds the addon beside itself or in the platform's own package.
//
// Bundlers follow each `require` of a literal, and can do nothing with an addon. What is loaded here has no name that
// they see: a bundle looks the package up where it is installed.

'use strict'

const { createRequire } = require('node:module')
const path = require('node:path')
const { faultOf } = require('./addon-file')
const { process } = require('./environment')
const errors = require('./errors')

/** One package for each (package.json lists the same). */
const PLATFORMS = [
  'darwin-arm64',
  'darwin-x64',
  'linux-arm64-gnu',
  'linux-arm64-musl',
  'linux-x64-gnu',
  'linux-x64-musl',
  'win32-arm64-msvc',
  'win32-x64-msvc'
]

/** Of the generated loader: an addon elsewhere. */
const ELSEWHERE = 'NAPI_RS_NATIVE_LIBRARY_PATH'

function load() {
  const root = packageFolder()
  // As if this file were there, also from a bundle. Tools that copy a program with all files that it requires (nft, of
  // Next and of serverless platforms) see the name that is required here, and the addons that binding.js requires.
  const requireHere = createRequire(path.join(root, 'lib', 'native.js'))
  const fault = faultOfFiles(root, requireHere)
  if (fault !== null) throw errors.noBinary(notLoading([fault]))
  let binding
  try {
    binding = requireHere('../binding.js')
  } catch (error) {
    throw errors.noBinary(describe(error), error)
  }
  if (typeof binding?.open !== 'function') throw errors.noBinary(notOurs())
  return { open: binding.open, root, addon: addonFile(binding, requireHere) ?? root }
}

/** The file of the addon among the loaded files. All nodes of one addon meet on the memory channel. */
function addonFile(binding, { cache }) {
  return Object.values(cache).find(module => module?.exports === binding && module.id.endsWith('.node'))?.id
}

/** Where this package is: around this file, or where it is installed if this file is part of a bundle. */
function packageFolder() {
  // There is none in a bundle that is an ES module.
  const here = typeof __filename === 'string' ? __filename : undefined
  for (const from of [here, process.argv[1], path.join(process.cwd(), 'index.js')]) {
    try {
      return path.dirname(createRequire(from).resolve('conflux/package.json'))
    } catch {
      // It is not installed for that one, or that is no file.
    }
  }
  throw errors.noBinary(
    'conflux is part of a bundle, and its native addon can not be: install the package conflux where the bundle ' +
      'runs, or tell the bundler to leave it out (`external`)'
  )
}

/** The fault of the addon beside binding.js, or else of the one in the platform's own package. */
function faultOfFiles(root, requireHere) {
  if (process.platform !== 'linux' || process.env[ELSEWHERE]) return null
  const platform = platformName()
  const beside = faultOf(path.join(root, `conflux.${platform}.node`))
  if (beside !== null) return beside
  try {
    return faultOf(requireHere.resolve(`conflux-${platform}`))
  } catch {
    return null
  }
}

function notLoading(reasons) {
  return `conflux has a native addon for ${platformName()}, but it does not load: ${reasons.join('; ')}`
}

function notOurs() {
  const elsewhere = process.env[ELSEWHERE]
  return elsewhere
    ? `the environment variable ${ELSEWHERE} names another addon than that of conflux: ${elsewhere}`
    : notLoading(['it is another addon than that of conflux'])
}

function describe(error) {
  const elsewhere = process.env[ELSEWHERE]
  if (elsewhere) {
    const reasons = reasonsOf(error).join('; ') || firstLine(error)
    return `the addon that the environment variable ${ELSEWHERE} names does not load: ${elsewhere}: ${reasons}`
  }
  const reasons = reasonsOf(error)
  if (reasons.length > 0) return notLoading(reasons)
  const platform = platformName()
  if (!PLATFORMS.includes(platform)) {
    return (
      `conflux has no native addon for ${platform}; there is one for each of ${PLATFORMS.join(', ')}. In a checkout ` +
      `of the source, \`npm run build\` may build one (${firstLine(error)})`
    )
  }
  return (
    `conflux has no native addon for ${platform}: install the package conflux-${platform} in the version of ` +
    'conflux (npm does so by itself, unless optional dependencies are omitted), or, in a checkout of the ' +
    `source, build it with \`npm run build\` (${firstLine(error)})`
  )
}

/**
 * `binding.js` tries one place after the other, and chains the messages of what was thrown there as causes, without
 * their codes. A file that is missing, or that is for another platform, is not the reason; any other error of Node
 * is.
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
  const { report } = process
  const { excludeNetwork } = report ?? {}
  try {
    // Else it looks up the names of all peers that this process is connected to.
    report.excludeNetwork = true
    return report.getReport().header.glibcVersionRuntime === undefined
  } catch {
    // Without permission to read it, assume the more common one.
    return false
  } finally {
    if (report !== undefined) report.excludeNetwork = excludeNetwork
  }
}

module.exports = load()
