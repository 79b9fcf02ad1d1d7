/**
 * This file is `npm run check`: every check that reads and never writes. `npm run verify` is this, then `npm test`.
 */
'use strict'

const { checkPackage } = require('./check-package')
const { Stop, answers, build, cargo, install, main, step, tool } = require('./steps')

main(async () => {
  await install()
  await step('Format of the JavaScript (npm run fix mends it)', () =>
    tool('prettier', 'prettier', ['--check', '.'])
  )
  requireComponent('fmt', 'rustfmt')
  await step('Format of the Rust (npm run fix mends it)', () => cargo(['fmt', '--check']))
  requireComponent('clippy', 'clippy')
  await step('Lints', () => cargo(['clippy', '--locked', '--all-targets', '--', '-D', 'warnings']))
  await build()
  await step('Contents of the npm package', checkPackage)
})

function requireComponent(command, name) {
  if (answers('cargo', [command, '--version'])) return
  throw new Stop(`\`cargo ${command}\` is missing: run \`rustup component add ${name}\`, then this again.`)
}
