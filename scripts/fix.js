/**
 * Is `npm run fix`: it formats Rust and JavaScript and applies what clippy can mend by itself.
 */
'use strict'

const { cargo, install, main, step, tool } = require('./steps')

main(async () => {
  await install()
  await step('Mending lints', () =>
    cargo(['clippy', '--fix', '--allow-dirty', '--allow-staged', '--all-targets'])
  )
  await step('Formatting the Rust', () => cargo(['fmt']))
  await step('Formatting the JavaScript', () => tool('prettier', 'prettier', ['--write', '.']))
})
