/**
 * Says what the npm package holds, and what its manifest must not. `npm run check` calls it, after a build.
 */
'use strict'

const fs = require('node:fs')
const path = require('node:path')

const { Stop, main, manifest, npmRead, root } = require('./steps')

/** Besides these the package holds every file of these folders, and nothing else. */
const FOLDERS = ['lib', 'docs', 'examples', 'node_modules/croner']
/**
 * In the package, so that it installs without a registry. croner has no dependencies itself; it computes the times of cron
 * expressions.
 */
const DEPENDENCIES = ['croner']

const EXPECTED = [
  'ARCHITECTURE.md',
  'CHANGELOG.md',
  'CONTRIBUTING.md',
  'LICENSE',
  'README.md',
  'SECURITY.md',
  'THIRD-PARTY-NOTICES',
  'binding.js',
  'index.d.mts',
  'index.d.ts',
  'index.js',
  'index.mjs',
  'metrics.d.ts',
  'metrics.js',
  'package.json',
  'recipes.d.ts',
  'recipes.js',
  'redux.d.ts',
  'redux.js',
  'socket.io.d.ts',
  'socket.io.js',
  'testing.d.ts',
  'testing.js'
]

function checkPackage() {
  const faults = [...faultsOfManifest(manifest), ...faultsOfContents(packedFiles(), expectedFiles())]
  const lock = fs.readFileSync(path.join(root, 'package-lock.json'), 'utf8')
  if (lock.includes('"resolved": "http')) faults.push('package-lock.json names download addresses')
  if (faults.length > 0) throw new Stop(`The npm package is not right: ${faults.join('; ')}.`)
}

/** What npm would publish. */
function packedFiles() {
  const [packed] = Object.values(JSON.parse(npmRead(['pack', '--dry-run', '--json', '--loglevel=error'])))
  return packed.files.map(file => file.path)
}

function expectedFiles() {
  const folders = FOLDERS.map(folder => path.join(root, folder))
  const entries = folders.flatMap(folder => fs.readdirSync(folder, { recursive: true, withFileTypes: true }))
  const files = entries
    .filter(entry => entry.isFile())
    .map(entry => path.relative(root, path.join(entry.parentPath ?? entry.path, entry.name)))
  return [...EXPECTED, ...files.map(file => file.replaceAll('\\', '/'))]
}

function faultsOfContents(packed, expected) {
  return [
    ...expected.filter(file => !packed.includes(file)).map(file => `${file} is missing`),
    ...packed.filter(file => !expected.includes(file)).map(file => `${file} does not belong in it`)
  ]
}

function faultsOfManifest({ dependencies, optionalDependencies, scripts }) {
  const faults = []
  const unknown = Object.keys(dependencies ?? {}).filter(name => !DEPENDENCIES.includes(name))
  if (unknown.length > 0) faults.push(`it has runtime dependencies: ${unknown.join(', ')}`)
  // Publishing writes them: committed, `npm ci` would fail on binaries that are not published yet.
  if (optionalDependencies) faults.push('its committed package.json has optionalDependencies')
  for (const name of ['preinstall', 'install', 'postinstall', 'prepare']) {
    if (scripts[name]) faults.push(`it runs a script at ${name}`)
  }
  return faults
}

module.exports = { checkPackage, faultsOfContents, faultsOfManifest }

if (require.main === module) main(checkPackage)
