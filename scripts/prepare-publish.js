/**
 * Makes the packages ready that the workflow publishes: `node scripts/prepare-publish.js npm`, after the
 * binaries were put into the folders of `npm/`.
 *
 * Each gets the licenses and says which repository it is from: npm accepts a proof of origin only then, and its page
 * needs it for the links of the README. Binaries that need a newer glibc than promised are refused.
 */
'use strict'

const fs = require('node:fs')
const path = require('node:path')

const { glibcFault } = require('./glibc')
const { Stop, main, root } = require('./steps')

/** What has to go along with the binary. */
const NOTICES = ['LICENSE', 'THIRD-PARTY-NOTICES']

/**
 * @param folder the folders of the binaries' packages are in it.
 * @param repository `owner/name`, as the workflow knows it.
 */
function preparePublish(folder, repository, { base = root, server = 'https://github.com' } = {}) {
  if (!/^[\w.-]+\/[\w.-]+$/.test(repository ?? '')) {
    throw new Stop(`The repository is unknown: GITHUB_REPOSITORY must be owner/name, and is ${repository}.`)
  }
  const packages = fs.readdirSync(folder).map(name => path.join(folder, name))
  if (packages.length === 0) throw new Stop(`There is no package in ${folder}.`)
  const faults = packages.flatMap(faultsOf)
  if (faults.length > 0) throw new Stop(`The binaries are not right: ${faults.join('; ')}.`)
  for (const one of packages) copyNotices(one, base)
  for (const one of [base, ...packages]) {
    writeOrigin(path.join(one, 'package.json'), `${server}/${repository}`)
  }
}

function faultsOf(folder) {
  const binaries = fs.readdirSync(folder).filter(name => name.endsWith('.node'))
  if (binaries.length !== 1) return [`${folder} has ${binaries.length} binaries`]
  if (!path.basename(folder).endsWith('-gnu')) return []
  const fault = glibcFault(path.join(folder, binaries[0]))
  return fault === null ? [] : [fault]
}

/** npm packs a file of another name than LICENSE only if the manifest lists it. */
function copyNotices(folder, base = root) {
  for (const name of NOTICES) fs.copyFileSync(path.join(base, name), path.join(folder, name))
  const file = path.join(folder, 'package.json')
  const manifest = JSON.parse(fs.readFileSync(file, 'utf8'))
  manifest.files = [...new Set([...manifest.files, ...NOTICES])]
  fs.writeFileSync(file, `${JSON.stringify(manifest, null, 2)}\n`)
}

function writeOrigin(file, address) {
  const manifest = JSON.parse(fs.readFileSync(file, 'utf8'))
  manifest.repository = { type: 'git', url: `git+${address}.git` }
  manifest.homepage = `${address}#readme`
  manifest.bugs = { url: `${address}/issues` }
  fs.writeFileSync(file, `${JSON.stringify(manifest, null, 2)}\n`)
}

module.exports = { copyNotices, preparePublish }

if (require.main === module) {
  main(() => preparePublish(process.argv[2] ?? 'npm', process.env.GITHUB_REPOSITORY))
}
