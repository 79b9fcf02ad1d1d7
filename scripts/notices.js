/**
 * Writes THIRD-PARTY-NOTICES, and checks it: the licenses of what the native addon contains must travel with it.
 *
 * Is `npm run licenses`, which needs cargo-about. `npm run check` calls the check, which needs cargo only.
 */
'use strict'

const fs = require('node:fs')
const path = require('node:path')

const { Stop, answers, cargo, main, manifest, read, root, step } = require('./steps')

const FILE = 'THIRD-PARTY-NOTICES'
const CONFIG = 'scripts/licenses/about.toml'
const TEMPLATE = 'scripts/licenses/notices.hbs'

async function writeNotices() {
  if (!answers('cargo', ['about', '--version'])) {
    throw new Stop(
      'cargo-about is missing: run `cargo install cargo-about --locked --features cli`, then this again.'
    )
  }
  await step('Collecting the licenses (cargo-about; some minutes)', () =>
    cargo(['about', 'generate', '--locked', '--fail', '-c', CONFIG, TEMPLATE, '-o', FILE])
  )
}

/** Stops if a dependency is missing in the file, or has a license that is not on the list. */
function checkNotices() {
  const config = fs.readFileSync(path.join(root, CONFIG), 'utf8')
  const text = fs.readFileSync(path.join(root, FILE), 'utf8')
  const lock = fs.readFileSync(path.join(root, 'Cargo.lock'), 'utf8')
  const faults = faultsOf(linked(listIn(config, 'targets')), {
    text,
    lock,
    accepted: listIn(config, 'accepted')
  })
  if (faults.length > 0) throw new Stop(`The licenses are not right: ${faults.join('; ')}.`)
}

/** @param crates `{ name, version, license, notice }`: what the addon contains. */
function faultsOf(crates, { text, lock, accepted }) {
  const listed = new Set((text.match(/^- \S+ \S+/gm) ?? []).map(line => line.slice(2)))
  const locked = new Set(
    [...lock.matchAll(/^name = "(.*)"\nversion = "(.*)"$/gm)].map(([, ...one]) => one.join(' '))
  )
  const faults = []
  const missing = []
  for (const { name, version, license, notice } of crates) {
    const crate = `${name} ${version}`
    if (!isAccepted(license, accepted)) {
      faults.push(`${crate} has the license ${license || 'unknown'}, which is not on the list in ${CONFIG}`)
    }
    if (!listed.has(crate)) missing.push(crate)
    else if (notice !== undefined && !text.includes(notice.trim())) {
      faults.push(`${FILE} lacks the NOTICE of ${crate}: add it to ${TEMPLATE}`)
    }
  }
  // It may name a crate too many: cargo-about looks less closely at features.
  const gone = [...listed].filter(crate => !locked.has(crate))
  if (missing.length > 0) faults.push(`${FILE} lacks ${missing.join(', ')}: run \`npm run licenses\``)
  if (gone.length > 0) {
    faults.push(`${FILE} has ${gone.join(', ')}, and Cargo.lock does not: run \`npm run licenses\``)
  }
  return faults
}

/** Of an SPDX expression: one of each `OR`, and all of each `AND`. A slash is an old spelling of `OR`. */
function isAccepted(license, accepted) {
  const tokens = (license ?? '').replaceAll('/', ' OR ').match(/[()]|[^\s()]+/g) ?? []
  let at = 0
  const any = () => {
    let result = all()
    while (tokens[at] === 'OR') {
      at++
      result = all() || result
    }
    return result
  }
  const all = () => {
    let result = one()
    while (tokens[at] === 'AND') {
      at++
      result = one() && result
    }
    return result
  }
  const one = () => {
    if (tokens[at] === '(') {
      at++
      const result = any()
      if (tokens[at++] !== ')') return false
      return result
    }
    let name = tokens[at++]
    if (tokens[at] === 'WITH') {
      name += ` WITH ${tokens[at + 1]}`
      at += 2
    }
    return accepted.includes(name)
  }
  return tokens.length > 0 && any() && at === tokens.length
}

/** What is linked into the addon on one of the platforms, and the macros whose code is. */
function linked(targets) {
  const manifests = manifestPaths()
  const crates = new Map()
  for (const target of targets) {
    const options = ['--edges', 'normal', '--target', target, '--prefix', 'none', '--format', '{p}|{l}']
    for (const line of read('cargo', ['tree', '--locked', ...options]).split('\n')) {
      const [, name, version, license] = /^(\S+) v(\S+)(?: \(.*\))*\|(.*?)(?: \(\*\))?$/.exec(line) ?? []
      if (name === undefined || name === manifest.name) continue
      const crate = `${name} ${version}`
      crates.set(crate, { name, version, license, notice: noticeBeside(manifests.get(crate)) })
    }
  }
  return [...crates.values()]
}

/** Where the source of each crate is. */
function manifestPaths() {
  const { packages } = JSON.parse(read('cargo', ['metadata', '--locked', '--format-version', '1']))
  return new Map(packages.map(({ name, version, manifest_path: file }) => [`${name} ${version}`, file]))
}

/** Apache-2.0, section 4 (d). */
function noticeBeside(manifest) {
  const folder = path.dirname(manifest)
  const file = fs.readdirSync(folder).find(name => /^notice(\.\w+)?$/i.test(name))
  return file && fs.readFileSync(path.join(folder, file), 'utf8')
}

/** A list of strings in TOML, one a line. */
function listIn(config, name) {
  const [, list] = new RegExp(`^${name} = \\[\\n([^\\]]*)\\]`, 'm').exec(config)
  return [...list.matchAll(/"([^"]+)"/g)].map(([, item]) => item)
}

module.exports = { checkNotices, faultsOf, isAccepted }

if (require.main === module) {
  main(async () => {
    await writeNotices()
    checkNotices()
  })
}
