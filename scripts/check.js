/**
 * Is `npm run check`: every check that reads and never writes. `npm run verify` is this, then `npm test`.
 */
'use strict'

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')

const { checkPackage } = require('./check-package')
const { checkNotices } = require('./notices')
const { Stop, answers, build, cargo, install, main, manifest, npm, root, step, tool } = require('./steps')

main(async () => {
  await install()
  await step('Format of the JavaScript (npm run fix mends it)', () =>
    tool('prettier', 'prettier', ['--check', '.'])
  )
  requireComponent('fmt', 'rustfmt')
  await step('Format of the Rust (npm run fix mends it)', () => cargo(['fmt', '--check']))
  requireComponent('clippy', 'clippy')
  await step('Lints', () => cargo(['clippy', '--locked', '--all-targets', '--', '-D', 'warnings']))
  await step('Licenses of what the addon contains (npm run licenses)', checkNotices)
  await build()
  await step('Contents of the npm package', checkPackage)
  await step('Entry points and types of the npm package (publint, attw)', checkEntryPoints)
})

/** Whether every way to import the package finds code and types that belong together. */
async function checkEntryPoints() {
  await tool('publint', 'publint', [root, '--strict', '--pack', 'npm'])
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'conflux-check-'))
  try {
    await npm(['pack', root, '--pack-destination', folder, '--silent'], { quiet: true })
    const tarball = path.join(folder, `${manifest.name}-${manifest.version}.tgz`)
    await tool('@arethetypeswrong/cli', 'attw', [tarball, '--no-emoji'])
  } finally {
    fs.rmSync(folder, { recursive: true })
  }
}

function requireComponent(command, name) {
  if (answers('cargo', [command, '--version'])) return
  throw new Stop(`\`cargo ${command}\` is missing: run \`rustup component add ${name}\`, then this again.`)
}
